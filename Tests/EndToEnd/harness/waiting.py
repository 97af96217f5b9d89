"""Waiting for events with a deadline; no test sleeps for a fixed time and hopes."""

import time

# For so long a value must not change to count as settled: far longer than any step of what moves it.
QUIET_SECONDS = 0.3
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


def settled(value, timeout=30.0):
    """Waits until a value stays as it is, and returns it: for that something no longer happens, of
    which there is no event."""
    deadline = time.monotonic() + timeout
    last, since = value(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s in vain for {last} to settle")
        time.sleep(POLL_SECONDS)
        if (now := value()) != last:
            last, since = now, time.monotonic()
    return last
