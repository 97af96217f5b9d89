"""Ports for proxies to listen on.

A proxy has to be told its port, so a free one is looked for beforehand. The range lies below the
kernel's ephemeral ports: nobody's outgoing connection takes one between the look and the bind. Test
processes that run side by side share it out among them.
"""

import os
import random
import socket
import threading

_LOWEST, _HIGHEST = 12_000, 31_999
_lock = threading.Lock()
# As pytest-xdist tells its workers: which of how many this is.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# No round ones: in what a proxy writes, a port could not be told from 15000 milliseconds.
_candidates = [port for port in range(_LOWEST + WORKER, _HIGHEST, _WORKERS) if port % 100]
random.Random().shuffle(_candidates)


def free_port(host="127.0.0.1"):
    """A port that nobody listens on, handed out once per test process."""
    with _lock:
        while _candidates:
            port = _candidates.pop()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    continue
            return port
    raise AssertionError("no free port left for this run")
