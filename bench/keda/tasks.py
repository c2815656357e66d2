"""What the jobs of the benchmark do: each tells Redis when it begins and when it ends, and sleeps in between."""
import time

from rq import get_current_job


def sleep(number, seconds):
    job = get_current_job()
    log = f"log:{job.origin}"
    job.connection.rpush(log, f"{number} begun {time.time()}")
    time.sleep(seconds)
    job.connection.rpush(log, f"{number} ended {time.time()}")
