"""A proxy and its control plane in bad times: absent, killed, restarted, busy."""

import threading

import pytest

from dynamic.conftest import load
from harness.client import fetch
from harness.control import ads_cluster, endpoints, proxy_bootstrap, to
from harness.ports import free_port
from harness.proxy import Proxy
from harness.waiting import until


def test_a_proxy_waits_for_its_control_plane(late_mesh):
    """Nobody is there: the proxy is not ready, until somebody is."""
    late_mesh.start(wait=False)
    until(lambda: "stream to the control plane has ended" in late_mesh.proxy.output(), 10,
          "the first attempt")
    assert late_mesh.proxy.admin("/ready").status == 503
    late_mesh.control.start()
    late_mesh.proxy.wait_ready()
    assert fetch(late_mesh.port).body == b"one"
    assert late_mesh.rejections() == 0


def test_a_killed_control_plane_takes_nothing_away(late_mesh):
    late_mesh.control.start()
    late_mesh.start()
    late_mesh.control.process.kill()
    late_mesh.control.process.wait(5)
    late_mesh.proxy.wait_stat("control_plane.connected_state", 0)
    assert fetch(late_mesh.port).body == b"one"
    late_mesh.control.put(*late_mesh.resources(one=[late_mesh.two.port]))
    late_mesh.control.start()
    until(lambda: fetch(late_mesh.port).body == b"two", 40, "the proxy to come back")
    assert late_mesh.proxy.stat("control_plane.connected_state") == 1
    # What did not change was not made anew.
    assert late_mesh.proxy.stat("cluster_manager.cluster_modified") == 0
    assert late_mesh.proxy.stat("listener_manager.listener_modified") == 0


def test_updates_under_load_lose_nothing(late_mesh):
    """Routes, clusters and endpoints change as fast as they are taken over; no request fails."""
    mesh = late_mesh
    mesh.control.start()
    mesh.start()
    over = threading.Event()
    threads, statuses, wrong = load(mesh.port, over)
    for version in range(20):
        name = ("a", "b")[version % 2]
        # Made before broken: both clusters stay, and routes change between them.
        mesh.control.put(*mesh.resources(
            to(name), one=[(mesh.one, mesh.two)[version // 2 % 2].port],
            more=[ads_cluster("b", lb_policy=("RANDOM", "ROUND_ROBIN")[version // 4 % 2]),
                  endpoints("b", mesh.two.port)]))
        # The routes, which come last, differ from one version to the next; the first are those of the start.
        mesh.proxy.wait_stat("http.main.rds.local.update_success", version + 1)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert len(statuses) > 100
    assert mesh.rejections() == 0


def without(document, *path):
    """The document without one of its fields."""
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return document


def changed(document, value, *path):
    """The document with another value somewhere."""
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize("path, value, words", [
    (("ads_config", "api_type"), "REST", "ads_config.api_type: value 'REST' is kno"),
    (("ads_config", "transport_api_version"), "AUTO", "transport_api_version: expected V3"),
    (("ads_config", "rate_limit_settings"), {}, "rate_limit_settings"),
    (("ads_config", "grpc_services"), [], "grpc_services: expected one service, found 0"),
    (("ads_config", "grpc_services"), [{"google_grpc": {"target_uri": "x", "stat_prefix": "x"}}],
     "google_grpc"),
    (("ads_config", "grpc_services"), [{"envoy_grpc": {"cluster_name": "contrl"}}],
     "no static cluster is called 'contrl'; did you mean 'control'?"),
])
def test_a_wrong_control_plane_is_refused_by_place(path, value, words):
    document = proxy_bootstrap(1, free_port(), False)
    code, output = Proxy("fairlead").validate(
        changed(document, value, "dynamic_resources", *path))
    assert code == 1
    assert words in output


def test_a_control_plane_needs_a_node_and_sources_a_control_plane():
    code, output = Proxy("fairlead").validate(without(proxy_bootstrap(1, free_port(), False), "node"))
    assert code == 1
    assert "node: a control plane asks for 'id' and 'cluster'" in output
    code, output = Proxy("fairlead").validate(
        without(proxy_bootstrap(1, free_port(), False), "dynamic_resources", "ads_config"))
    assert code == 1
    assert "cds_config.ads: the bootstrap has no dynamic_resources.ads_config" in output


def test_a_cluster_that_cannot_lead_there_is_refused():
    document = proxy_bootstrap(1, free_port(), False)
    cluster = document["static_resources"]["clusters"][0]
    del cluster["typed_extension_protocol_options"]
    code, output = Proxy("fairlead").validate(document)
    assert code == 1
    assert "cluster_name: gRPC needs http2_protocol_options in the cluster 'control'" in output
