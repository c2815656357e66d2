"""Callbacks are Python import paths, which our worker cannot run: the job is done, and the log says so."""

import pytest
from rq import Callback
from rq.job import JobStatus

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


@pytest.mark.ours
def test_the_job_is_done_and_the_skipped_callback_is_told(queue, workers, worker, database, lines):
    job = queue.enqueue(
        FUNCTION, lines[0], on_success=Callback("reports.tell_everybody"), on_failure=Callback("reports.weep")
    )
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[:1]).rows
    until(lambda: "reports.tell_everybody" in worker.output(), lambda: f"the log names it\n{workers.log()}", 5)
