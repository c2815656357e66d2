"""What the jobs call."""

import time


def send(address):
    """Stands for something slow that needs Python."""
    time.sleep(0.2)
    return f"sent to {address}"
