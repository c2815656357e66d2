"""Waiting for a condition, with a bound; nothing in these tests sleeps for a fixed time and hopes."""
import time


class Late(AssertionError):
    """A condition did not come true within its bound."""


def until(condition, what, seconds=30.0, pause=0.02):
    """Returns the first truthy answer of `condition()`; raises `Late`, naming `what`, after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Late(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(pause)
