"""The administration pages' parameters, as Envoy has them, and what cannot be seen in a single page."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.client import fetch
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream
from harness.waiting import until

BUCKETS = [0.5, 10, 300]
STRANGE = 'q"uote\\back<b>'


@pytest.fixture(scope="module")
def served(proxy_kind):
    """A proxy that has served some requests, with clusters of several names."""
    with Upstream() as upstream, Proxy(proxy_kind) as one:
        one.port = free_port()
        one.start(bootstrap(
            [listener("main", one.port)],
            [cluster("up", upstream.port), cluster("upper", upstream.port),
             cluster("strange", upstream.port, alt_stat_name=STRANGE)], free_port(),
            stats_config={"histogram_bucket_settings": [
                {"match": {"prefix": "cluster.up."}, "buckets": BUCKETS}]}))
        for _ in range(5):
            assert fetch(one.port).status == 200
        one.wait_stat("http.main.downstream_rq_2xx", 5)
        yield one


def configs(served, query):
    """The parts of a configuration dump."""
    response = served.admin(f"/config_dump?{query}")
    assert response.status == 200, response
    return json.loads(response.body).get("configs", [])


# --- /config_dump ---


def test_config_dump_gives_one_resource(served):
    """The items of one list, each a message of its own."""
    found = configs(served, "resource=static_clusters")
    assert {c["@type"] for c in found} == {
        "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster"}
    assert [c["cluster"]["name"] for c in found] == ["up", "upper", "strange"]
    assert configs(served, "resource=dynamic_listeners") == []
    routes = configs(served, "resource=static_route_configs")
    assert [c["route_config"]["name"] for c in routes] == ["main"]


def test_config_dump_masks_fields(served):
    """Of the whole, of a resource; types stay, and what a mask does not fit is left out."""
    assert configs(served, "mask=bootstrap.node.id") == [{
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"node": {"id": "test-node"}}}]
    found = configs(served, "resource=static_clusters&mask=cluster.name,cluster.type")
    assert found[0]["cluster"] == {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "up",
        "type": "STATIC"}
    assert all("last_updated" not in c for c in found)


def test_config_dump_by_name(served):
    """The expression has to match the whole name."""
    found = configs(served, "resource=static_clusters&name_regex=upp.*")
    assert [c["cluster"]["name"] for c in found] == ["upper"]
    assert configs(served, "resource=static_clusters&name_regex=upp") == []
    whole = {c["@type"].rpartition(".")[2]: c for c in configs(served, "name_regex=up")}
    assert len(whole["ClustersConfigDump"]["static_clusters"]) == 1
    assert "static_listeners" not in whole["ListenersConfigDump"]
    assert "bootstrap" in whole["BootstrapConfigDump"]


@pytest.mark.parametrize("query,status,word", [
    ("resource=nothing", 404, "nothing"), ("resource=bootstrap", 400, "mask=bootstrap"),
    ("mask=nonsense", 400, "nonsense"), ("resource=static_clusters&mask=a.b", 400, "could not"),
    ("resource=static_clusters&mask=cluster.load_assignment.endpoints.x", 400, "could not"),
    ("mask=.", 400, "could not"), ("name_regex=(", 400, "name_regex")])
def test_config_dump_refuses_what_is_not_there(served, query, status, word):
    """As Envoy does, with a sentence."""
    response = served.admin(f"/config_dump?{query}")
    assert response.status == status and word in response.body.decode(), response


# --- /clusters ---


def test_clusters_by_name(served):
    """`filter` is looked for anywhere in the name, in both formats."""
    text = served.admin("/clusters?filter=^upp").body.decode()
    assert {line.split("::")[0] for line in text.splitlines()} == {"upper"}
    found = json.loads(served.admin("/clusters?format=json&filter=up").body)["cluster_statuses"]
    assert sorted(c["name"] for c in found) == ["up", "upper"]
    assert served.admin("/clusters?filter=(").status == 400


def test_clusters_as_json(served):
    """Counters and gauges of each host, without what is zero, and the thresholds."""
    found = json.loads(served.admin("/clusters?format=json").body)["cluster_statuses"]
    up = next(c for c in found if c["name"] == "up")
    host = up["host_statuses"][0]
    stats = {s["name"]: s for s in host["stats"]}
    assert stats["rq_total"] == {"name": "rq_total", "value": "5"}
    assert stats["rq_error"] == {"name": "rq_error"}
    assert stats["cx_active"]["type"] == "GAUGE"
    assert host["health_status"] == {"eds_health_status": "HEALTHY"} and host["weight"] == 1
    assert up["circuit_breakers"]["thresholds"][0] == {
        "max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024,
        "max_retries": 3}
    assert up["circuit_breakers"]["thresholds"][1]["priority"] == "HIGH"


# --- /stats ---


def names(served, query):
    """Names of statistics in a text answer."""
    response = served.admin(f"/stats?{query}")
    assert response.status == 200, response
    return [line.rpartition(": ")[0] or line for line in response.body.decode().splitlines()]


def test_stats_filters(served):
    """By expression, its opposite, by type, by use; together."""
    assert names(served, "filter=^server.live$") == ["server.live"]
    others = names(served, "filter=^server\\.&invert_filter")
    assert others and not [n for n in others if n.startswith("server.")]
    gauges = names(served, "type=Gauges&filter=http.main")
    assert "http.main.downstream_cx_active" in gauges
    assert "http.main.downstream_cx_total" not in gauges
    histograms = names(served, "type=Histograms&filter=http.main")
    assert "http.main.downstream_cx_length_ms" in histograms
    assert "http.main.downstream_rq_2xx" not in histograms
    assert names(served, "type=TextReadouts&filter=http.main") == []
    used = names(served, "usedonly&filter=http.main.downstream_rq")
    assert "http.main.downstream_rq_2xx" in used and "http.main.downstream_rq_5xx" not in used
    assert "http.main.downstream_rq_5xx" in names(served, "filter=http.main.downstream_rq")


@pytest.mark.parametrize("query", [
    "format=xml", "filter=(", "type=gauges", "type=Nothing", "histogram_buckets=some"])
def test_stats_refuses_unknown_values(served, query):
    """400, as Envoy."""
    assert served.admin(f"/stats?{query}").status == 400


def test_histogram_buckets_are_those_of_stats_config(served):
    """Where a name matches; elsewhere they are Envoy's."""
    def bounds(name):
        answer = json.loads(served.admin(
            f"/stats?format=json&histogram_buckets=cumulative&filter=^{name}$").body)
        return [b["upper_bound"] for b in answer["stats"][-1]["histograms"][0]["buckets"]]

    assert bounds("cluster.up.upstream_rq_time") == BUCKETS
    assert len(bounds("cluster.upper.upstream_cx_connect_ms")) > 10
    text = served.admin("/stats/prometheus?filter=^cluster.up.upstream_rq_time$").body.decode()
    family = next(iter(text_string_to_metric_families(text)))
    assert [s.labels["le"] for s in family.samples if s.name.endswith("_bucket")] == [
        "0.5", "10", "300", "+Inf"]


@pytest.mark.parametrize("mode", ["cumulative", "disjoint", "detailed", "summary"])
def test_histograms_in_every_mode(served, mode):
    """Text and JSON; both hold the five samples' histogram."""
    text = served.admin(f"/stats?histogram_buckets={mode}&filter=cluster.up.upstream_rq_time")
    assert b"cluster.up.upstream_rq_time" in text.body and b"No recorded" not in text.body
    found = json.loads(served.admin(
        f"/stats?format=json&histogram_buckets={mode}&filter=cluster.up.upstream_rq_time").body)
    assert "cluster.up.upstream_rq_time" in json.dumps(found)


def test_strange_names_break_no_format(served):
    """Quotes, backslashes and markup in a name stay within it."""
    text = served.admin("/stats/prometheus?filter=strange").body.decode()
    text = text or served.admin("/stats/prometheus").body.decode()
    families = list(text_string_to_metric_families(text))
    labels = {s.labels.get("envoy_cluster_name") for f in families for s in f.samples}
    assert STRANGE in labels, labels
    stats = json.loads(served.admin("/stats?format=json").body)["stats"]
    assert f"cluster.{STRANGE}.upstream_rq_total" in {s.get("name") for s in stats}
    for page in ("/", "/help", "/clusters", "/stats"):
        response = served.admin(page)
        assert "html" not in response.value("content-type") or STRANGE.encode() not in response.body
        assert response.value("x-content-type-options") == "nosniff"


@pytest.mark.unsanitized("keeps freed memory")
def test_a_filter_leaves_no_memory_behind(served):
    """Whoever asks again and again with another expression costs nothing in the end."""
    def ask(first, count):
        for number in range(first, first + count):
            assert served.admin(f"/stats?filter=^none_{number}_[a-z]+_(x|y){{3,9}}$").status == 200

    ask(0, 200)
    before = served.resident_kib()
    ask(200, 1000)
    grown = served.resident_kib() - before
    assert grown < 1024, f"{grown} KiB more"


# --- /logging ---


def levels(body):
    """Level by component."""
    pairs = (line.strip().split(": ") for line in body.decode().splitlines()[1:])
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def test_logging_changes_levels(served):
    """One, several, all; an unknown name or level changes nothing and is told."""
    assert served.admin("/logging").status == 405
    assert served.admin("/logging?level=info", "POST").status == 200
    some = levels(served.admin("/logging?paths=upstream:debug,connection:trace", "POST").body)
    assert (some["upstream"], some["connection"], some["http"]) == ("debug", "trace", "info")
    one = levels(served.admin("/logging?http=error", "POST").body)
    assert (one["upstream"], one["http"]) == ("debug", "error")
    for wrong in ("paths=http:debug,nobody:debug", "paths=http:loud", "nobody=debug", "level=loud",
                  "http=debug&level=info", "paths=http"):
        assert served.admin(f"/logging?{wrong}", "POST").status == 400, wrong
        assert levels(served.admin("/logging", "POST").body) == one, wrong
    every = levels(served.admin("/logging?level=info", "POST").body)
    assert set(every.values()) == {"info"}


def test_a_level_decides_what_is_logged(served):
    """What `debug` tells of one component is not there before and after."""
    served.admin("/memory")
    served.admin("/logging?admin=debug", "POST")
    served.admin("/server_info")
    assert "GET /server_info" in served.output()
    served.admin("/logging?admin=info", "POST")
    served.admin("/hot_restart_version")
    assert "/memory" not in served.output() and "/hot_restart_version" not in served.output()


# --- options of the command line ---


@pytest.mark.parametrize("level,lines", [("info", True), ("warning", False), ("off", False)])
def test_the_log_level_of_the_command_line(proxy_kind, level, lines):
    """`-l` decides whether the start is told of."""
    with Proxy(proxy_kind) as one:
        one.start(bootstrap([], [], free_port()), ("--concurrency", "1", "-l", level))
        assert bool(one.output()) == lines, one.output()


def test_component_log_level_and_log_path(proxy_kind, tmp_path):
    """`--component-log-level` for some, `--log-path` for where."""
    log = tmp_path / "log"
    with Proxy(proxy_kind) as one:
        one.start(bootstrap([], [], free_port()), (
            "--concurrency", "1", "-l", "off", "--component-log-level", "admin:debug",
            "--log-path", str(log)))
        assert not one.output()
        until(lambda: log.exists() and "[admin]" in log.read_text(), 5, "a line in the file")


@pytest.mark.parametrize("arguments,word", [
    (("-l", "loud"), "loud"), (("--component-log-level", "nobody:debug"), "nobody"),
    (("--concurrency", "many"), "many"), (("--mode", "check"), "check"),
    (("--no-such-option",), "no-such-option"), (("--log-path", "/nowhere/log"), "/nowhere/log")])
def test_a_wrong_option_is_told(proxy_kind, arguments, word):
    """An exit code that is not 0, and what was wrong; nothing is started."""
    with Proxy(proxy_kind) as one:
        one.start(bootstrap([], [], free_port()), arguments, wait=False)
        assert one.wait_exit(10) != 0 and word in one.output()
