"""Streams of their own for single kinds of resources (`api_config_source`), against our control plane."""

import pytest

from harness.client import fetch
from harness.control import ADS, ads_cluster, ads_listener, endpoints, proxy_bootstrap, routes, to
from harness.ports import free_port
from harness.proxy import Proxy
from harness.upstream import Upstream, reply
from harness.waiting import until


def instead(value, source):
    """The same with another source in the place of ADS."""
    if value == ADS:
        return source
    if isinstance(value, dict):
        return {name: instead(one, source) for name, one in value.items()}
    if isinstance(value, list):
        return [instead(one, source) for one in value]
    return value


def stream(delta, cluster="control"):
    """A source that is a stream of its own."""
    return {"resource_api_version": "V3", "api_config_source": {
        "api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": cluster}}]}}


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
@pytest.mark.parametrize("delta", [False, True], ids=["world", "delta"])
def test_each_kind_by_its_own_stream(control, kind, delta):
    """Clusters, endpoints, listeners and routes come, change and go."""
    source = stream(delta)
    port = free_port()
    with Upstream(reply(body=b"one")) as one, Upstream(reply(body=b"two")) as two:
        def resources(upstream, more=()):
            return [instead(part, source) for part in (
                ads_listener("main", port), routes("local", to("a")), ads_cluster("a"),
                endpoints("a", upstream.port), *more)]

        plane = control(*resources(one))
        document = instead(proxy_bootstrap(plane.port, free_port(), delta), source)
        del document["dynamic_resources"]["ads_config"]
        proxy = Proxy(kind).start(document, ("--concurrency", "1"))
        try:
            assert fetch(port).body == b"one"
            plane.put(*resources(two, [ads_cluster("b"), endpoints("b", two.port)]))
            until(lambda: fetch(port).body == b"two")
            proxy.wait_stat("cluster_manager.cds.update_success", 2)
            plane.put(*resources(two))
            proxy.wait_stat("cluster_manager.cluster_removed", 1)
            for scope in ("cluster_manager.cds", "listener_manager.lds", "cluster.a",
                          "http.main.rds.local"):
                assert proxy.stat(f"{scope}.update_success") >= 1, scope
                assert proxy.stat(f"{scope}.control_plane.connected_state") == 1, scope
            assert "control_plane.connected_state" not in proxy.stats("^control_plane")
        finally:
            proxy.stop()


def test_a_stream_that_leads_nowhere_is_refused(proxy_kind):
    """A cluster that is not the bootstrap's, or has no HTTP/2, cannot lead to a control plane."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead's words")
    document = proxy_bootstrap(1, free_port(), False)
    document["dynamic_resources"]["cds_config"] = stream(False, "elsewhere")
    code, output = Proxy(proxy_kind).validate(document)
    assert code == 1
    assert "dynamic_resources.cds_config.api_config_source.grpc_services[0].envoy_grpc" \
        ".cluster_name" in output and "no static cluster is called 'elsewhere'" in output
