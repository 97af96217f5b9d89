"""Waiting for events with a deadline; no test sleeps for a fixed time and hopes."""

import time

# Between two looks at a condition. Short against every deadline, long enough not to busy a core.
POLL_SECONDS = 0.005


def until(condition, timeout=5.0, what="the condition"):
    """Polls `condition` until it is truthy and returns its value; fails at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(POLL_SECONDS)


def eventually(condition, timeout=5.0):
    """As `until`, but tells whether it came true instead of failing."""
    try:
        until(condition, timeout)
        return True
    except AssertionError:
        return False
