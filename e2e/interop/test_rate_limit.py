"""rq 3.0's rate limits: a job past the limit waits on no list until whoever ends a job of its key lets it in."""

import pytest

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until

pytestmark = [pytest.mark.rq3, pytest.mark.usefixtures("worker")]


def test_a_slot_is_given_on(queue, workers, database, lines):
    from rq.rate_limit import RateLimit

    limit = RateLimit(key="register", concurrency=1)
    jobs = [queue.enqueue(FUNCTION, line, rate_limit=limit) for line in lines[:5]]
    until(
        lambda: {job.get_status(refresh=True).value for job in jobs} == {"finished"},
        lambda: f"{[job.get_status(refresh=True) for job in jobs]}\n{workers.log()}",
    )
    assert database.companies() == Expected(lines[:5]).rows


def test_a_failed_job_gives_its_slot_on(queue, workers, lines):
    from rq.rate_limit import RateLimit

    limit = RateLimit(key="register", concurrency=1)
    bad = queue.enqueue(FUNCTION, lines[0][:50], rate_limit=limit)
    good = queue.enqueue(FUNCTION, lines[1], rate_limit=limit)
    until(
        lambda: (bad.get_status(refresh=True), good.get_status(refresh=True)) == ("failed", "finished"),
        lambda: f"{bad.get_status(refresh=True)}, {good.get_status(refresh=True)}\n{workers.log()}",
    )
