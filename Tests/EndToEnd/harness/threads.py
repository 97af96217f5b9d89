"""Threads of another process: finding one, stopping it in the middle of its work, sending it a
signal."""

import contextlib
import ctypes
import errno
import os
import pathlib
import platform

import pytest

from .waiting import until

_SEIZE, _INTERRUPT, _SYSCALL, _DETACH = 0x4206, 0x4207, 24, 17
_WALL = 0x40000000
# The number of recvfrom: what a worker calls when it has something to do.
_RECEIVE = {"x86_64": 45, "aarch64": 207}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def thread_named(pid, name):
    """The id of the process's thread of this name; a thread names itself some time after it has begun."""
    def find():
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            if (task / "comm").read_text().strip() == name:
                return int(task.name)
        return None

    return until(find, 5, f"the thread {name}")


def send_signal(pid, thread, number):
    """Sends a signal to one thread of a process."""
    if _libc.tgkill(pid, thread, number) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")


def _trace(request, thread):
    if _libc.ptrace(request, thread, None, None) == -1:
        number = ctypes.get_errno()
        if request == _SEIZE and number == errno.EPERM:
            pytest.skip("this machine lets nobody trace a process")
        raise OSError(number, "ptrace")


@contextlib.contextmanager
def stopped_at_work(pid, thread, begin):
    """The thread stands still, within its work on what `begin()` has sent; others go on."""
    _trace(_SEIZE, thread)
    try:
        _trace(_INTERRUPT, thread)
        os.waitpid(thread, _WALL)
        begin()
        call = pathlib.Path(f"/proc/{pid}/task/{thread}/syscall")
        while True:
            _trace(_SYSCALL, thread)
            os.waitpid(thread, _WALL)
            if call.read_text().split()[0] == str(_RECEIVE[platform.machine()]):
                break
        yield
    finally:
        # A thread that has ended meanwhile cannot be let go.
        with contextlib.suppress(OSError):
            _trace(_DETACH, thread)
