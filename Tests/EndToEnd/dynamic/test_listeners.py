"""Listeners that come from a file and follow it (LDS by `path_config_source`)."""

import json
import threading
import time

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import LISTENERS, ROUTES, ResourceFile, route_config, says
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

from .conftest import allocated, following, load, shrinks_to


class Served:
    """A proxy whose listeners come from a file."""

    def __init__(self, kind, file, listeners, static, arguments):
        self.file = file
        self.file.put(LISTENERS, *listeners)
        self.upstream = Upstream(reply(200, b"up"))
        self.proxy = Proxy(kind).start(bootstrap(
            static, [cluster("up", self.upstream.port)], free_port(),
            dynamic_resources={"lds_config": file.source}), ("--concurrency", "2", *arguments))

    def put(self, *listeners):
        """The next version of the file."""
        return self.file.put(LISTENERS, *listeners)

    def wait(self, name, value):
        """Waits until a statistic of listeners has a value."""
        self.proxy.wait_stat(f"listener_manager.{name}", value)

    def stop(self):
        """Ends all of it."""
        self.proxy.stop()
        self.upstream.stop()


@pytest.fixture
def served(proxy_kind, tmp_path):
    """Makes a proxy whose listeners come from a file."""
    open_ = []

    def make(*listeners, static=(), arguments=()):
        open_.append(Served(proxy_kind, ResourceFile(tmp_path / "listeners.yaml"), listeners,
                            list(static), arguments))
        return open_[-1]

    yield make
    for one in open_:
        one.stop()


def becomes(port, body):
    """Waits until an answer is this one."""
    until(lambda: fetch(port).body == body, what=f"the answer {body}")


def refuses(port):
    """Whether nobody listens there."""
    try:
        Connection(port).close()
        return False
    except ConnectionRefusedError:
        return True


def test_listeners_come_change_and_go(served):
    """Each version is in force at once, and counted."""
    first, second = free_port(), free_port()
    one = served(listener("l", first, [says("one")]))
    assert fetch(first).body == b"one"
    one.put(listener("l", first, [says("two")]), listener("m", second, [says("other")]))
    becomes(first, b"two")
    until(lambda: not refuses(second))
    assert fetch(second).body == b"other"
    one.put(listener("l", first, [says("two")]))
    until(lambda: refuses(second))
    assert fetch(first).body == b"two"
    stats = one.proxy.stats("^listener_manager%5C.")
    assert stats["listener_manager.listener_added"] == 2
    assert stats["listener_manager.listener_modified"] == 1
    assert stats["listener_manager.listener_removed"] == 1
    assert stats["listener_manager.total_listeners_active"] == 1
    assert stats["listener_manager.lds.update_success"] == 3


def test_the_same_listener_again_is_no_change(served):
    """Its connections go on, and nobody is told to go."""
    port, other = free_port(), free_port()
    one = served(listener("l", port, [says("one")]))
    with Connection(port) as client:
        client.send(request_bytes())
        client.read_response()
        one.put(listener("l", port, [says("one")]), listener("m", other, [says("x")]))
        one.wait("listener_added", 2)
        client.send(request_bytes())
        assert client.read_response().value("connection") is None
    assert one.proxy.stat("listener_manager.listener_modified") == 0


def test_old_connections_are_told_to_go(served):
    """A connection of the version before is answered as before, with `Connection: close`."""
    port = free_port()
    one = served(listener("l", port, [says("one")]))
    with Connection(port) as client:
        client.send(request_bytes())
        client.read_response()
        one.put(listener("l", port, [says("two")]))
        becomes(port, b"two")

        def is_told():
            client.send(request_bytes())
            response = client.read_response()
            assert response.body == b"one"
            return response.value("connection") == "close"

        # Its worker may hear of it later than the one that has answered.
        until(is_told, 5, "the connection to be told to go")
        assert client.ends_within(5)
    until(lambda: one.proxy.stat("listener_manager.total_listeners_draining") == 0)


def test_what_is_left_after_the_drain_time_is_closed(served):
    """An idle connection of a removed listener does not outlive the drain time."""
    port = free_port()
    one = served(listener("l", port, [says("one")]), arguments=("--drain-time-s", "1"))
    with Connection(port) as client:
        client.send(request_bytes())
        client.read_response()
        one.put()
        until(lambda: refuses(port))
        assert client.ends_within(5)
    until(lambda: one.proxy.stat("listener_manager.total_listeners_draining") == 0)


def test_one_bad_listener_keeps_nobody_else_back(served):
    """The good ones of an answer are taken over; the bad one keeps its last good version, and why is
    told by name, path and reason."""
    first, second = free_port(), free_port()
    one = served(listener("bad", first, [says("good before")]))
    wrong = listener("bad", first, [says("x", safe_regex={"regex": "(("})])
    version = one.put(wrong, listener("good", second, [says("good")]))
    one.wait("lds.update_rejected", 1)
    until(lambda: not refuses(second))
    assert fetch(second).body == b"good"
    assert fetch(first).body == b"good before"
    if one.proxy.kind == "fairlead":
        lines = [line for line in one.proxy.output().splitlines() if "'bad' is refused" in line]
        assert len(lines) == 1 and "safe_regex" in lines[0], one.proxy.output()
    shown = json.loads(one.proxy.admin("/config_dump?resource=dynamic_listeners").body)["configs"]
    states = {c["name"]: c for c in shown}
    assert states["good"]["active_state"]["version_info"] == version
    assert states["bad"]["active_state"]["version_info"] == "1"
    assert "error_state" in states["bad"] and states["bad"]["error_state"]["details"]


def test_a_place_that_is_taken(served):
    """Two listeners cannot be at one address: the first stays."""
    port = free_port()
    one = served(listener("l", port, [says("one")]))
    one.put(listener("l", port, [says("one")]), listener("m", port, [says("two")]))
    one.wait("lds.update_rejected", 1)
    assert fetch(port).body == b"one"


def test_a_static_listener_is_not_replaced(served):
    """A listener of the bootstrap keeps its name to itself."""
    static, other = free_port(), free_port()
    one = served(listener("s", other, [says("dynamic")]),
                 static=[listener("s", static, [says("static")])])
    assert fetch(static).body == b"static"
    assert refuses(other)


def test_a_listener_waits_for_its_routes(served, tmp_path):
    """What it takes by name is there when it begins to serve, and is followed."""
    routes = ResourceFile(tmp_path / "routes.yaml")
    routes.put(ROUTES, route_config("local", says("first")))
    port = free_port()
    one = served()
    one.put(following(listener("l", port), "local", routes.source))
    until(lambda: not refuses(port))
    assert fetch(port).body == b"first"
    routes.put(ROUTES, route_config("local", says("second")))
    becomes(port, b"second")
    one.put(following(listener("l", port, via="x"), "local", routes.source))
    one.wait("listener_modified", 1)
    until(lambda: fetch(port).value("via") == "x")
    assert fetch(port).body == b"second"


def test_a_changed_address_is_opened_before_the_old_is_closed(served):
    """A listener moves to another port."""
    first, second = free_port(), free_port()
    one = served(listener("l", first, [says("one")]))
    one.put(listener("l", second, [says("two")]))
    until(lambda: not refuses(second))
    assert fetch(second).body == b"two"
    until(lambda: refuses(first))


def test_updates_under_load_lose_nothing(served):
    """A listener changes every 30 ms: no connection is refused, no request fails."""
    port = free_port()
    one = served(listener("up", port))
    over = threading.Event()
    threads, statuses, wrong = load(port, over)
    for version in range(40):
        one.put(listener("up", port, via=f"v{version}"))
        time.sleep(0.03)  # the pace of the updates, not something waited for
    one.wait("lds.update_success", 20)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100


@pytest.mark.alone("how soon workers let go of what was")
def test_replaced_listeners_are_freed(served, proxy_kind):
    """Hundreds of versions of five listeners leave nothing behind."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    ports = [free_port() for _ in range(5)]
    one = served(*(listener(f"l{port}", port, [says("first")]) for port in ports))

    def update(first, count):
        for number in range(first, first + count):
            one.put(*(listener(f"l{port}", port, [
                says("x" * 100, path=f"/{number}/{index}") for index in range(30)
            ] + [says(f"v{number}")]) for port in ports))
            becomes(ports[-1], f"v{number}".encode())
        until(lambda: one.proxy.stat("listener_manager.total_listeners_draining") == 0)

    update(0, 20)
    before = allocated(one.proxy)
    update(20, 100)
    shrinks_to(one.proxy, before + 300_000)
