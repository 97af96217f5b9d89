"""What the proxy says to a control plane, and what it does when that one is wrong, silent or slow."""

import pytest

from harness.ads import (
    CLUSTER, ENDPOINTS, LISTENER, ROUTES, ScriptedControl, Wrapped, assignment, eds_cluster,
    route_configuration)
from harness.client import fetch
from harness.control import ADS, ads_listener, proxy_bootstrap
from harness.ports import free_port
from harness.proxy import Proxy
from harness.upstream import Upstream, reply
from harness.waiting import until


@pytest.fixture
def scripted():
    """A control plane that says what a test wants."""
    with ScriptedControl() as made:
        yield made


@pytest.fixture
def upstream():
    """An endpoint."""
    made = Upstream(reply(body=b"one"))
    yield made
    made.stop()


class Served:
    """A proxy with a static listener whose routes, clusters and endpoints are sent."""

    def __init__(self, kind, scripted):
        self.scripted = scripted
        self.port = free_port()
        self.proxy = Proxy(kind)

    def start(self, ads=None, timeout="15s", **options):
        """Starts, without waiting for anything."""
        document = proxy_bootstrap(self.scripted.port, free_port(), False)
        dynamic = document["dynamic_resources"]
        dynamic["ads_config"].update(ads or {})
        del dynamic["lds_config"]
        dynamic["cds_config"] = {**ADS, "initial_fetch_timeout": timeout}
        one = ads_listener("main", self.port)
        del one["@type"]
        manager = one["filter_chains"][0]["filters"][0]["typed_config"]
        manager["rds"]["config_source"] = {**ADS, "initial_fetch_timeout": timeout}
        document["static_resources"]["listeners"] = [one]
        self.proxy.start(document, ("--concurrency", "1"), wait=False, **options)
        return self

    def serve(self, upstream):
        """Sends everything; returns when the proxy serves."""
        self.scripted.wait(CLUSTER)
        self.scripted.send(CLUSTER, "c1", eds_cluster("a"))
        assert self.scripted.wait(ENDPOINTS).names == ["a"]
        self.scripted.send(ENDPOINTS, "e1", assignment("a", upstream.port))
        assert self.scripted.wait(ROUTES).names == ["local"]
        self.scripted.send(ROUTES, "r1", route_configuration("local", "a"))
        self.proxy.wait_ready()
        assert fetch(self.port).body == b"one"


@pytest.fixture
def served(proxy_kind, scripted):
    """The proxy, not started yet."""
    made = Served(proxy_kind, scripted)
    yield made
    made.proxy.stop()


def test_what_is_said(served, scripted, upstream):
    """Node, order, versions, nonces, names; counters and identifier."""
    served.start()
    served.serve(upstream)
    first = scripted.asked(CLUSTER)[0]
    assert first.node[1] == [b"sidecar-1"] and first.version == "" and first.nonce == ""
    accepted = scripted.answered(CLUSTER, "1")
    assert (accepted.version, accepted.error, accepted.names) == ("c1", None, [])
    assert accepted.node is not None
    assert scripted.answered(ENDPOINTS, "2").version == "e1"
    assert scripted.answered(ROUTES, "3").names == ["local"]
    assert scripted.requests[0].type == CLUSTER
    stat = served.proxy.stat
    assert stat("control_plane.connected_state") == 1
    assert stat("cluster_manager.cds.update_success") == 1
    assert stat("cluster_manager.cds.update_attempt") == 2
    assert stat("cluster.a.update_success") == 1
    assert stat("http.main.rds.local.update_success") == 1
    readouts = served.proxy.admin("/stats?type=TextReadouts").body.decode()
    assert 'control_plane.identifier: "scripted"' in readouts
    assert 'cluster_manager.cds.version_text: "c1"' in readouts


def test_the_node_once_and_metadata(served, scripted, upstream):
    served.start({"set_node_on_first_message_only": True, "grpc_services": [{
        "envoy_grpc": {"cluster_name": "control", "authority": "control.example"},
        "initial_metadata": [{"key": "x-token", "value": "secret"}]}]})
    served.serve(upstream)
    assert [one.node is not None for one in scripted.requests].count(True) == 1
    assert ("x-token", "secret") in scripted.metadata


def test_one_bad_cluster_of_two(served, scripted, upstream):
    """The bad one is refused by name, with the reason; the good one is taken; the last good stays."""
    served.start()
    served.serve(upstream)
    # lb_policy 99 is none.
    bad = eds_cluster("a", b"\x30\x63")
    nonce = scripted.send(CLUSTER, "c2", bad, eds_cluster("b"))
    refusal = scripted.answered(CLUSTER, nonce)
    assert refusal.version == "c1"
    assert "a: " in refusal.error
    if served.proxy.kind == "fairlead":
        assert "lb_policy" in refusal.error
        scripted.wait(ENDPOINTS, lambda one: one.names == ["a", "b"])
    assert fetch(served.port).body == b"one"
    assert served.proxy.stat("cluster_manager.cds.update_rejected") == 1


def test_resources_in_wrappers(served, scripted, upstream):
    """Each is what it would be without; others may come beside it."""
    served.start()
    served.serve(upstream)
    nonce = scripted.send(CLUSTER, "c2", Wrapped(CLUSTER, "a", eds_cluster("a")), eds_cluster("b"))
    accepted = scripted.answered(CLUSTER, nonce)
    assert (accepted.version, accepted.error) == ("c2", None)
    scripted.wait(ENDPOINTS, lambda one: one.names == ["a", "b"])
    other = Upstream(reply(body=b"other"))
    try:
        nonce = scripted.send(
            ENDPOINTS, "e2", Wrapped(ENDPOINTS, "a", assignment("a", other.port)),
            assignment("b", other.port))
        assert scripted.answered(ENDPOINTS, nonce).version == "e2"
        until(lambda: fetch(served.port).body == b"other", 10, "the new endpoint")
    finally:
        other.stop()


def test_a_wrapper_of_another_type_changes_nothing(served, scripted, upstream):
    served.start()
    served.serve(upstream)
    nonce = scripted.send(CLUSTER, "c2", Wrapped(LISTENER, "a", eds_cluster("a")))
    refusal = scripted.answered(CLUSTER, nonce)
    assert refusal.version == "c1" and "Listener" in refusal.error
    assert fetch(served.port).body == b"one"


def test_an_answer_of_another_type_changes_nothing(served, scripted, upstream):
    served.start()
    served.serve(upstream)
    nonce = scripted.send(CLUSTER, "c2", eds_cluster("b"), url=LISTENER)
    assert "Listener" in scripted.answered(CLUSTER, nonce).error
    assert served.proxy.stat("cluster_manager.cds.update_rejected") == 1
    assert fetch(served.port).body == b"one"


def test_a_changed_cluster_is_not_left_waiting(served, scripted, upstream):
    """The control plane does not repeat the endpoints, and need not."""
    served.start()
    served.serve(upstream)
    # lb_policy RANDOM.
    nonce = scripted.send(CLUSTER, "c2", eds_cluster("a", b"\x30\x03"))
    assert scripted.answered(CLUSTER, nonce).error is None
    if served.proxy.kind == "fairlead":
        served.proxy.wait_stat("cluster_manager.warming_clusters", 0)
        served.proxy.wait_stat("cluster_manager.cluster_modified", 1)
        assert fetch(served.port).body == b"one"


def test_a_removed_cluster_is_not_asked_for(served, scripted, upstream):
    served.start()
    served.serve(upstream)
    scripted.send(CLUSTER, "c2")
    scripted.wait(ENDPOINTS, lambda one: one.names == [])
    assert fetch(served.port).status == 503


def test_a_silent_control_plane_is_not_waited_for_for_ever(served, scripted):
    """`initial_fetch_timeout` of clusters and routes; then nothing is found, but all is well."""
    served.start(timeout="0.5s")
    served.proxy.wait_ready(10)
    assert fetch(served.port).status == 404
    assert served.proxy.stat("cluster_manager.cds.init_fetch_timeout") == 1
    assert served.proxy.stat("http.main.rds.local.init_fetch_timeout") == 1
    # What comes late is taken.
    scripted.send(CLUSTER, "c1", eds_cluster("a"))
    assert scripted.wait(ENDPOINTS).names == ["a"]
    assert scripted.answered(CLUSTER, "1").error is None


def test_a_stream_that_ends_is_begun_again(served, scripted, upstream):
    served.start()
    served.serve(upstream)
    scripted.answers.put(None)
    again = scripted.wait(CLUSTER, lambda one: one.nonce == "" and one.version == "c1")
    assert again.node is not None
    assert scripted.wait(ENDPOINTS, lambda one: one.nonce == "" and one.version == "e1").names == [
        "a"]
    served.proxy.wait_stat("cluster_manager.cds.update_failure", 1)
    assert fetch(served.port).body == b"one"
