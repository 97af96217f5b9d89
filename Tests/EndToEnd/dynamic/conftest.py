"""What the tests of dynamic configuration share."""

import json
import threading

import pytest

from harness.client import Connection, request_bytes
from harness.discovery import ROUTES, ResourceFile
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until


def following(one, name, source):
    """A listener whose manager takes its routes by name."""
    manager = one["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    manager["rds"] = {"route_config_name": name, "config_source": source}
    return one


class Routed:
    """A proxy whose routes come from a file."""

    def __init__(self, kind, file, behaviour, managers, workers):
        self.file = file
        self.upstream = Upstream(behaviour)
        self.ports = [free_port() for _ in range(managers)]
        self.port = self.ports[0]
        self.proxy = Proxy(kind)
        self.arguments = (
            [following(listener(f"main{index}", port), "local", file.source)
             for index, port in enumerate(self.ports)],
            [cluster("up", self.upstream.port), cluster("other", self.upstream.port)],
            free_port())
        self.workers = workers

    def start(self):
        """Starts it, and returns it when it is ready."""
        self.proxy.start(bootstrap(*self.arguments), ("--concurrency", str(self.workers)))
        return self

    def put(self, *resources):
        """The next version of the file."""
        return self.file.put(ROUTES, *resources)

    def stat(self, name):
        """One statistic of the subscription."""
        return self.proxy.stat(f"http.main0.rds.local.{name}")

    def wait(self, name, value):
        """Waits until one of its statistics has a value."""
        self.proxy.wait_stat(f"http.main0.rds.local.{name}", value)

    def stop(self):
        """Ends all of it."""
        self.proxy.stop()
        self.upstream.stop()


@pytest.fixture
def routed(proxy_kind, tmp_path):
    """Makes a proxy whose routes come from a file with these resources."""
    open_ = []

    def make(*resources, behaviour=None, managers=1, workers=2):
        file = ResourceFile(tmp_path / "routes.yaml")
        file.put(ROUTES, *resources)
        open_.append(Routed(proxy_kind, file, behaviour or reply(), managers, workers))
        return open_[-1].start()

    yield make
    for one in open_:
        one.stop()


def load(port, over, headers=()):
    """Clients that ask all the time until `over`; returns (threads, statuses, what went wrong)."""
    statuses, wrong = [], []

    def ask():
        with Connection(port) as client:
            while not over.is_set():
                client.send(request_bytes(headers=headers))
                response = client.read_response()
                statuses.append(response.status)
                if response.status != 200:
                    wrong.append((response.status, response.body))
                if response.value("connection") == "close":
                    return ask()
        return None

    def guarded():
        try:
            ask()
        except Exception as error:  # pylint: disable=broad-exception-caught
            wrong.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    return threads, statuses, wrong


def allocated(proxy):
    """Bytes that the proxy's allocator has handed out."""
    return int(json.loads(proxy.admin("/memory").body)["allocated"])


def shrinks_to(proxy, most):
    """Waits until the proxy has handed out less than `most` bytes: what workers have let go of is
    looked for once a second, and freed then."""
    until(lambda: allocated(proxy) < most, 10, f"{allocated(proxy)} bytes to become {most}")
