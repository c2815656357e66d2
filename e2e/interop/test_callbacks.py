"""Callbacks are Python import paths. Ours cannot run them: the job is done all the same, and the log says what was skipped."""
import pytest
from harness.companies import FUNCTION, Expected
from harness.waiting import until
from rq import Callback
from rq.job import JobStatus


@pytest.mark.ours
def test_the_job_is_done_and_the_skipped_callback_is_told(queue, workshop, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[0], on_success=Callback("reports.tell_everybody"), on_failure=Callback("reports.weep"))
    workshop.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[:1]).rows
    until(lambda: "reports.tell_everybody" in worker.output(), lambda: f"the log names it\n{workshop.log()}", 5)
