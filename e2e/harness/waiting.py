"""Waiting for a condition, with a bound; nothing in these tests sleeps for a fixed time and hopes."""

import time


class Late(AssertionError):
    """A condition did not come true within its bound."""


def until(condition, what, seconds=30.0, pause=0.02):
    """Returns the first truthy answer of `condition()`; raises `Late`, naming `what`, after `seconds`.

    It asks every `pause` seconds, and less often what takes long: every twentieth of the time that has passed.
    """
    began = time.monotonic()
    end = began + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        now = time.monotonic()
        if now > end:
            raise Late(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(max(pause, min(0.25, (now - began) / 20)))
