"""The administration pages, one by one, as people and Prometheus read them."""

import json
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harness.client import Connection, fetch, request_bytes, wait_listening
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream
from harness.waiting import until

ADMIN = {
    "/": "text/html", "/help": "text/plain", "/ready": "text/plain", "/stats": "text/plain",
    "/stats?format=json": "application/json", "/stats/prometheus": "text/plain",
    "/clusters": "text/plain", "/clusters?format=json": "application/json",
    "/listeners": "text/plain", "/listeners?format=json": "application/json",
    "/config_dump": "application/json", "/server_info": "application/json",
    "/runtime": "application/json",
}


@pytest.fixture(scope="module")
def served(proxy_kind):
    """A proxy that has served some requests, for all pages."""
    with Upstream() as upstream, Proxy(proxy_kind) as one:
        one.port = free_port()
        one.start(bootstrap(
            [listener("main", one.port)], [cluster("up", upstream.port)], free_port(),
            layered_runtime={"layers": [{"name": "static", "static_layer": {"a.b": 7}}]}))
        for _ in range(5):
            assert fetch(one.port).status == 200
        one.wait_stat("http.main.downstream_rq_2xx", 5)
        yield one


@pytest.mark.parametrize("page", ADMIN)
def test_admin_page(served, page):
    """Each page answers with its type; JSON parses."""
    response = served.admin(page)
    assert response.status == 200
    assert response.value("content-type").startswith(ADMIN[page]), response
    if ADMIN[page] == "application/json":
        assert json.loads(response.body) is not None


def test_admin_content(served):
    """What people look for is there."""
    assert served.admin("/ready").body == b"LIVE\n"
    assert b"up::" in served.admin("/clusters").body
    assert f"127.0.0.1:{served.port}".encode() in served.admin("/listeners").body
    info = json.loads(served.admin("/server_info").body)
    assert info["state"] == "LIVE" and info["node"]["id"] == "test-node"
    runtime = json.loads(served.admin("/runtime").body)
    assert str(runtime["entries"]["a.b"]["final_value"]) == "7"
    kinds = [c["@type"].rpartition(".")[2]
             for c in json.loads(served.admin("/config_dump").body)["configs"]]
    assert kinds[:1] == ["BootstrapConfigDump"] and "ListenersConfigDump" in kinds


def test_admin_refuses_what_it_does_not_know(served):
    """404 for an unknown page, 405 for GET where something would change."""
    assert served.admin("/no-such-page").status == 404
    assert served.admin("/quitquitquit").status == 405
    assert served.alive()


def test_admin_stats_filters(served):
    """usedonly, filter and the JSON format agree."""
    text = served.admin("/stats?filter=^http.main.downstream_rq_2xx$").body.decode()
    assert text.splitlines() == ["http.main.downstream_rq_2xx: 5"]
    every = json.loads(served.admin("/stats?format=json&filter=downstream_rq_2xx").body)["stats"]
    assert {"name": "http.main.downstream_rq_2xx", "value": 5} in every
    assert b"downstream_rq_2xx: 5" not in served.admin("/stats?filter=nothing_at_all").body


def test_bytes_are_counted_while_a_connection_lasts(proxy_kind):
    """Traffic shows when it passes, not when a kept-alive connection ends at last."""
    port = free_port()
    with Upstream() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listener("main", port)], [cluster("up", upstream.port)], free_port()))
        with Connection(port) as client:
            request = request_bytes()
            for turn in (1, 2):
                client.send(request)
                assert client.read_response().status == 200
                proxy.wait_stat("http.main.downstream_cx_rx_bytes_total", turn * len(request))
                sent = len(upstream.links[0].raw)
                proxy.wait_stat("cluster.up.upstream_cx_tx_bytes_total", sent)
                assert proxy.stat("cluster.up.upstream_cx_tx_bytes_total") == sent
            assert proxy.stat("http.main.downstream_cx_rx_bytes_total") == 2 * len(request)
            assert proxy.stat("cluster.up.upstream_cx_rx_bytes_total") > 0
            assert proxy.stat("http.main.downstream_cx_tx_bytes_total") > 0
            before = proxy.stats("http.main.*_bytes_total")
        proxy.wait_stat("http.main.downstream_cx_destroy", 1)
        assert proxy.stats("http.main.*_bytes_total") == before


def test_admin_reset_counters(served):
    """POST /reset_counters; the following tests of this page count anew."""
    assert served.admin("/reset_counters", "POST").status == 200
    assert served.stat("http.main.downstream_rq_2xx") == 0
    assert fetch(served.port).status == 200
    served.wait_stat("http.main.downstream_rq_2xx", 1)


def test_admin_logging(served):
    """POST /logging changes levels."""
    assert served.admin("/logging?level=debug", "POST").status == 200
    assert b"debug" in served.admin("/logging", "POST").body
    assert served.admin("/logging?level=info", "POST").status == 200


def test_prometheus_text_parses(served):
    """The official parser takes every line; names and labels are Envoy's."""
    text = served.admin("/stats/prometheus").body.decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    xx = families["envoy_http_downstream_rq_xx"]
    assert {"envoy_response_code_class": "2", "envoy_http_conn_manager_prefix": "main"} in [
        s.labels for s in xx.samples]
    assert "envoy_cluster_upstream_rq_total" in families or "envoy_cluster_upstream_rq" in families
    histogram = families["envoy_http_downstream_rq_time"]
    assert histogram.type == "histogram"
    buckets = [s.value for s in histogram.samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets), "buckets do not add up"


@pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus on this machine")
def test_a_real_prometheus_scrapes(served, tmp_path):
    """Prometheus itself finds the target up and the samples there."""
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(yaml.dump({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "proxy", "metrics_path": "/stats/prometheus",
                            "static_configs": [{"targets": [
                                f"127.0.0.1:{served.admin_port}"]}]}]}))
    with open(tmp_path / "output", "wb") as output:
        server = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
             f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=output, stderr=output)
    try:
        wait_listening(port, timeout=30)

        def query(expression):
            response = fetch(port, f"/api/v1/query?query={expression}")
            if response.status != 200:
                return []
            answer = json.loads(response.body)
            return [float(r["value"][1]) for r in answer["data"]["result"]]

        until(lambda: query("up") == [1.0], 20, "the scrape to succeed")
        assert query("envoy_cluster_upstream_rq_total") or query("envoy_cluster_upstream_rq_xx")
    finally:
        server.terminate()
        server.wait(10)
