#!/usr/bin/env python3
"""Puts each line of a file on an RQ queue, as a job that calls ParseCompany.parse_company(line).

    produce.py companies.jsonl --redis redis://127.0.0.1:6379/0 --queue companies

This is an ordinary RQ producer: it names the function as text, so `ParseCompany` need not be importable here, and it
neither knows nor cares that the workers are not written in Python. Prints `i : job id` for each line.
"""

import argparse
import os
import sys

from redis import Redis
from rq import Queue

FUNCTION = "ParseCompany.parse_company"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "file", type=argparse.FileType("r", encoding="utf-8"), help="one JSON document a line; - reads stdin"
    )
    parser.add_argument(
        "--redis", default=os.environ.get("JOBQUEUE_REDIS_URL", "redis://127.0.0.1:6379/0"), metavar="URL"
    )
    parser.add_argument("--queue", default="companies", help="RQ queue name (default: companies)")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="enqueue_many, N lines at a time (default: one by one)"
    )
    return parser.parse_args()


def batches(lines, size):
    batch = []
    for line in lines:
        batch.append(line.rstrip("\n"))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def main():
    args = arguments()
    queue = Queue(args.queue, connection=Redis.from_url(args.redis))
    count = 0
    for batch in batches(args.file, args.batch):
        if len(batch) == 1:
            jobs = [queue.enqueue(FUNCTION, batch[0])]
        else:
            jobs = queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in batch])
        for job in jobs:
            sys.stdout.write(f"{count} : {job.id}\n")
            count += 1


if __name__ == "__main__":
    main()
