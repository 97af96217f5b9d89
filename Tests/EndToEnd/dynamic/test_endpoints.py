"""Endpoints that come from a file and follow it (EDS by `path_config_source`)."""

import json
import threading
import time

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import ENDPOINTS, ResourceFile, assignment, eds_cluster, endpoint
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import listener
from harness.upstream import Upstream, reply
from harness.waiting import until

from .conftest import allocated, load, shrinks_to


class Served:
    """A proxy in front of an EDS cluster."""

    def __init__(self, kind, file, names, behaviour):
        self.file = file
        self.upstreams = {name: Upstream(behaviour or reply(200, name.encode())) for name in names}
        self.put(names[0])
        self.port = free_port()
        self.proxy = Proxy(kind).start(
            bootstrap([listener("main", self.port)], [eds_cluster("up", file.source)],
                      free_port()), ("--concurrency", "2"))

    def put(self, *names):
        """The next version: these upstreams."""
        return self.file.put(
            ENDPOINTS, assignment("up", *(self.upstreams[name].port for name in names)))

    def wait(self, name, value):
        """Waits until one of the cluster's statistics has a value."""
        self.proxy.wait_stat(f"cluster.up.{name}", value)

    def stop(self):
        """Ends all of it."""
        self.proxy.stop()
        for upstream in self.upstreams.values():
            upstream.stop()


@pytest.fixture
def served(proxy_kind, tmp_path):
    """Makes a proxy whose endpoints come from a file; at first it is the first upstream."""
    open_ = []

    def make(*names, behaviour=None):
        open_.append(Served(proxy_kind, ResourceFile(tmp_path / "endpoints.yaml"), names, behaviour))
        return open_[-1]

    yield make
    for one in open_:
        one.stop()


def test_endpoints_follow_the_file(served):
    """Where requests go changes with the file; what is empty answers with 503."""
    one = served("a", "b")
    assert fetch(one.port).body == b"a"
    one.put("b")
    until(lambda: fetch(one.port).body == b"b")
    one.put()
    until(lambda: fetch(one.port).status == 503)
    one.put("a")
    until(lambda: fetch(one.port).body == b"a")
    assert one.proxy.stat("cluster.up.update_success") == 4
    assert one.proxy.stat("cluster.up.membership_total") == 1


def test_connections_to_hosts_that_stay_are_kept(served):
    """An endpoint that is in the old and the new version keeps its connections."""
    one = served("a", "b")
    with Connection(one.port) as client:
        client.send(request_bytes())
        client.read_response()
        one.put("a", "b")
        one.wait("membership_total", 2)
        one.put("a")
        one.wait("update_success", 3)
        until(lambda: one.proxy.stat("cluster.up.membership_total") == 1)
        client.send(request_bytes())
        assert client.read_response().body == b"a"
    assert {r.connection for r in one.upstreams["a"].requests} == {0}


def test_a_request_to_a_host_that_left_is_finished(served):
    """And then its connection is closed."""
    go = threading.Event()
    one = served("a", "b", behaviour=lambda e: [go.wait(10), reply(200, b"late")(e)])
    with Connection(one.port) as client:
        client.send(request_bytes())
        one.upstreams["a"].wait_requests(1)
        one.put("b")
        one.wait("update_success", 2)
        go.set()
        assert client.read_response().body == b"late"
    until(lambda: one.proxy.stat("cluster.up.upstream_cx_active") == 0)


def test_health_and_weights_change(served):
    """What is said of an endpoint that stays takes effect too."""
    one = served("a", "b")
    ports = {name: upstream.port for name, upstream in one.upstreams.items()}
    one.file.put(ENDPOINTS, assignment(
        "up", endpoint(ports["a"], health_status="UNHEALTHY"), ports["b"]))
    until(lambda: {fetch(one.port).body for _ in range(6)} == {b"b"})
    one.file.put(ENDPOINTS, assignment("up", ports["a"], ports["b"]))
    until(lambda: {fetch(one.port).body for _ in range(6)} == {b"a", b"b"})


BAD = {
    "a name where an address is wanted": assignment("up", endpoint(1, host="some.name")),
    "endpoints of another cluster": assignment("down", 1),
    "a weight of 0": assignment("up", endpoint(1, load_balancing_weight=0)),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_endpoints_change_nothing(served, what):
    """The last good ones stay, and the reason is told."""
    one = served("a")
    one.file.put(ENDPOINTS, BAD[what])
    until(lambda: one.proxy.stat("cluster.up.update_rejected")
          + one.proxy.stat("cluster.up.update_failure") == 1)
    assert fetch(one.port).body == b"a"
    assert "warn" in one.proxy.output()


def test_endpoints_are_shown(served):
    """By `/config_dump?include_eds` and `/clusters`."""
    one = served("a")
    shown = json.loads(one.proxy.admin("/config_dump?include_eds").body)["configs"]
    part = next(c for c in shown if c["@type"].endswith("EndpointsConfigDump"))
    config = part["dynamic_endpoint_configs"][0]["endpoint_config"]
    assert config["cluster_name"] == "up"
    address = config["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address["port_value"] == one.upstreams["a"].port
    assert f"up::127.0.0.1:{address['port_value']}::" in one.proxy.admin("/clusters").body.decode()


def test_updates_under_load_lose_nothing(served):
    """Endpoints come and go every 20 ms, and no request fails."""
    one = served("a", "b", "c")
    over = threading.Event()
    threads, statuses, wrong = load(one.port, over)
    for version in range(60):
        one.put(*("abc"[version % 3], "abc"[(version + 1) % 3]))
        time.sleep(0.02)  # the pace of the updates, not something waited for
    one.wait("update_success", 30)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100


@pytest.mark.alone("how soon workers let go of what was")
def test_replaced_endpoints_are_freed(served, proxy_kind):
    """Hundreds of versions with two hundred endpoints each leave nothing behind."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    one = served("a")

    def update(first, count):
        for number in range(first, first + count):
            one.file.put(ENDPOINTS, assignment("up", *(
                endpoint(1000 + index, host=f"127.1.{number % 200}.1") for index in range(200))))
            until(lambda n=number: one.proxy.stat("cluster.up.update_success") >= n + 2)

    update(0, 20)
    before = allocated(one.proxy)
    update(20, 100)
    shrinks_to(one.proxy, before + 150_000)
