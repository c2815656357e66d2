"""What the jobs of the benchmark do: each tells Redis when and in which pod it begins and ends, and sleeps in
between."""

import socket
import time

from rq import get_current_job


def sleep(number, seconds):
    job = get_current_job()
    log, pod = f"log:{job.origin}", socket.gethostname()
    job.connection.rpush(log, f"{number} begun {time.time()} {pod}")
    time.sleep(seconds)
    job.connection.rpush(log, f"{number} ended {time.time()} {pod}")
