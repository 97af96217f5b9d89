"""Clusters that come from a file and follow it (CDS by `path_config_source`)."""

import json
import threading
import time

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import CLUSTERS, ENDPOINTS, ResourceFile, assignment, eds_cluster
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

from .conftest import allocated, load, shrinks_to

BY_HEADER = [{"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}}]


class Served:
    """A proxy whose clusters come from a file; the request says which one it wants."""

    def __init__(self, kind, file, clusters, static):
        self.file = file
        self.file.put(CLUSTERS, *clusters)
        self.port = free_port()
        self.proxy = Proxy(kind).start(bootstrap(
            [listener("main", self.port, BY_HEADER)], static, free_port(),
            dynamic_resources={"cds_config": file.source}), ("--concurrency", "2"))

    def put(self, *clusters):
        """The next version of the file."""
        return self.file.put(CLUSTERS, *clusters)

    def ask(self, name):
        """One request to a cluster."""
        return fetch(self.port, headers=[("x-cluster", name)])

    def wait(self, name, value):
        """Waits until a statistic of the subscription has a value."""
        self.proxy.wait_stat(f"cluster_manager.cds.{name}", value)

    def becomes(self, name, body):
        """Waits until a cluster answers so."""
        until(lambda: self.ask(name).body == body, what=f"{body} of {name}")


@pytest.fixture(name="ups")
def upstreams():
    """Upstreams that answer with their names."""
    all_ = {name: Upstream(reply(200, name.encode())) for name in "ab"}
    yield all_
    for upstream in all_.values():
        upstream.stop()


@pytest.fixture
def served(proxy_kind, tmp_path):
    """Makes a proxy whose clusters come from a file."""
    open_ = []

    def make(*clusters, static=()):
        open_.append(Served(
            proxy_kind, ResourceFile(tmp_path / "clusters.yaml"), clusters, list(static)))
        return open_[-1]

    yield make
    for one in open_:
        one.proxy.stop()


def test_clusters_come_change_and_go(served, ups):
    """Each version is in force at once, and counted."""
    one = served(cluster("x", ups["a"].port))
    assert one.ask("x").body == b"a"
    assert one.ask("w").status == 503
    one.put(cluster("x", ups["a"].port), cluster("w", ups["b"].port))
    one.becomes("w", b"b")
    one.put(cluster("x", ups["b"].port), cluster("w", ups["b"].port))
    one.becomes("x", b"b")
    one.put(cluster("x", ups["b"].port))
    until(lambda: one.ask("w").status == 503)
    stats = one.proxy.stats("^cluster_manager%5C.")
    assert stats["cluster_manager.cluster_added"] == 2
    assert stats["cluster_manager.cluster_modified"] == 1
    assert stats["cluster_manager.cluster_removed"] == 1
    assert stats["cluster_manager.active_clusters"] == 1
    assert stats["cluster_manager.cds.update_success"] == 4


def test_a_cluster_that_did_not_change_is_not_touched(served, ups):
    """Its connections go on although others change around it."""
    one = served(cluster("x", ups["a"].port))
    with Connection(one.port) as client:
        def ask():
            client.send(request_bytes(headers=[("x-cluster", "x")]))
            assert client.read_response().body == b"a"

        ask()
        one.put(cluster("x", ups["a"].port), cluster("w", ups["b"].port))
        one.becomes("w", b"b")
        ask()
    assert {r.connection for r in ups["a"].requests} == {0}


def test_connections_of_a_changed_cluster_are_closed_when_idle(served, ups):
    """The old version's connection is not used again, and goes."""
    one = served(cluster("x", ups["a"].port))
    assert one.ask("x").body == b"a"
    one.put(cluster("x", ups["b"].port))
    one.becomes("x", b"b")
    until(lambda: all(link.ended for link in ups["a"].links))


def test_a_request_to_a_removed_cluster_is_finished(served):
    """What began before the cluster went gets its answer."""
    go = threading.Event()
    with Upstream(lambda e: [go.wait(10), reply(200, b"late")(e)]) as up:
        one = served(cluster("x", up.port))
        with Connection(one.port) as client:
            client.send(request_bytes(headers=[("x-cluster", "x")]))
            up.wait_requests(1)
            one.put()
            one.proxy.wait_stat("cluster_manager.cluster_removed", 1)
            assert one.ask("x").status == 503
            go.set()
            assert client.read_response().body == b"late"


def test_one_bad_cluster_keeps_nobody_else_back(served, ups, proxy_kind):
    """The good ones of an answer are taken over; the bad one keeps its last good version."""
    one = served(cluster("x", ups["a"].port), cluster("w", ups["a"].port))
    bad = {**cluster("x", ups["b"].port), "circuit_breakers": {"thresholds": [
        {"retry_budget": {"budget_percent": {"value": 101}}}]}}
    one.put(bad, cluster("w", ups["b"].port), cluster("z", ups["b"].port))
    one.wait("update_rejected", 1)
    if proxy_kind == "envoy":
        pytest.skip("a bound on a field makes Envoy refuse the whole answer")
    one.becomes("w", b"b")
    one.becomes("z", b"b")
    assert one.ask("x").body == b"a"
    lines = [line for line in one.proxy.output().splitlines() if "'x' is refused" in line]
    assert len(lines) == 1 and "budget_percent" in lines[0], one.proxy.output()
    one.put(cluster("x", ups["b"].port))
    one.becomes("x", b"b")


def test_a_static_cluster_is_not_replaced(served, ups):
    """A cluster of the bootstrap keeps its name to itself."""
    one = served(cluster("x", ups["b"].port), static=[cluster("x", ups["a"].port)])
    assert one.ask("x").body == b"a"
    one.put()
    one.wait("update_success", 2)
    assert one.ask("x").body == b"a"


def test_endpoints_of_clusters_that_come(served, ups, tmp_path):
    """An EDS cluster is used when its endpoints are known, and follows them."""
    endpoints = ResourceFile(tmp_path / "endpoints.yaml")
    endpoints.put(ENDPOINTS, assignment("e", ups["a"].port))
    one = served(eds_cluster("e", endpoints.source))
    assert one.ask("e").body == b"a"
    endpoints.put(ENDPOINTS, assignment("e", ups["b"].port))
    one.becomes("e", b"b")
    one.put(eds_cluster("e", endpoints.source, lb_policy="RANDOM"))
    one.wait("update_success", 2)
    one.becomes("e", b"b")


def test_clusters_are_shown(served, ups):
    """By `/config_dump` with versions, and by `/clusters`."""
    one = served(cluster("x", ups["a"].port))
    version = one.put(cluster("x", ups["b"].port))
    one.becomes("x", b"b")
    shown = json.loads(one.proxy.admin("/config_dump?resource=dynamic_active_clusters").body)
    assert [(c["version_info"], c["cluster"]["name"]) for c in shown["configs"]] == [(version, "x")]
    assert "x::added_via_api::true" in one.proxy.admin("/clusters").body.decode()


def test_statistics_go_with_the_cluster(served, ups, proxy_kind):
    """A cluster that is no more leaves no statistics, and a new one of its name begins at zero."""
    one = served(cluster("x", ups["a"].port))
    for _ in range(3):
        assert one.ask("x").status == 200
    one.proxy.wait_stat("cluster.x.upstream_rq_total", 3)
    one.put()
    until(lambda: "cluster.x." not in one.proxy.admin("/stats").body.decode())
    one.put(cluster("x", ups["a"].port))
    one.becomes("x", b"a")
    assert one.proxy.stat("cluster.x.upstream_rq_total") == 1, proxy_kind


def test_updates_under_load_lose_nothing(served, ups):
    """A cluster changes every 20 ms, and no request fails."""
    one = served(cluster("up", ups["a"].port), static=[])
    over = threading.Event()
    threads, statuses, wrong = load(one.port, over, headers=[("x-cluster", "up")])
    for version in range(60):
        one.put(cluster("up", ups["ab"[version % 2]].port), cluster(f"o{version}", 1))
        time.sleep(0.02)  # the pace of the updates, not something waited for
    one.wait("update_success", 30)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100


@pytest.mark.alone("how soon workers let go of what was")
def test_replaced_clusters_are_freed(served, ups, proxy_kind):
    """Hundreds of versions of twenty clusters leave nothing behind."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    one = served(cluster("x", ups["a"].port))

    def update(first, count):
        for number in range(first, first + count):
            one.put(*(cluster(f"c{number}-{index}", ups["a"].port) for index in range(20)),
                    cluster("x", ups["ab"[number % 2]].port))
            one.becomes("x", b"ab"[number % 2:number % 2 + 1])

    def settled():
        until(lambda: f"cluster.c{last - 1}-0." not in one.proxy.admin("/stats").body.decode())
        return allocated(one.proxy)

    # Tables keep the size that they once had, and reach it in one of the first rounds.
    sizes = []
    for last in (60, 120, 180, 240):
        update(last - 60, 60)
        one.put()
        sizes.append(settled())
    shrinks_to(one.proxy, max(sizes[:2]) + 300_000)
