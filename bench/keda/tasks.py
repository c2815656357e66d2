"""The jobs of the benchmark: each sleeps, and reports to Redis when and in which pod it begins and ends."""

import socket
import time

from rq import get_current_job


def sleep(number, seconds):
    job = get_current_job()
    log, pod = f"log:{job.origin}", socket.gethostname()
    job.connection.rpush(log, f"{number} begun {time.time()} {pod}")
    time.sleep(seconds)
    job.connection.rpush(log, f"{number} ended {time.time()} {pod}")
