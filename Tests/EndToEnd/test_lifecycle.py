"""Starting, validating, watching, draining and ending the process."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harness.client import Connection, ConnectionEnded, fetch, request_bytes, wait_listening
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, after, reply
from harness.waiting import eventually, until

# Start to listening, in seconds. The promise is 30 ms; a shared machine gets some slack.
START_SECONDS = 0.15


@pytest.fixture
def upstream():
    """An upstream that says hello."""
    with Upstream() as one:
        yield one


@pytest.fixture
def proxy(proxy_kind, upstream):
    """A proxy, not started yet, with its document, listener port and log."""
    with Proxy(proxy_kind) as one:
        one.port = free_port()
        one.log = one.directory / "access.log"
        one.document = bootstrap(
            [listener("main", one.port, access_log=(one.log, "%REQ(:PATH)% %RESPONSE_CODE%\n"),
                      drain_timeout="0.5s")],
            [cluster("up", upstream.port)], free_port())
        yield one


def only_fairlead(kind):
    """Behaviour that is ours, or messages that are ours."""
    if kind == "envoy":
        pytest.skip("Fairlead only")


# --- validation ---


def test_validate_accepts_a_good_configuration(proxy):
    """Exit code 0, and nothing is left listening."""
    code, output = proxy.validate(proxy.document)
    assert code == 0, output


def test_json_is_accepted_like_yaml(proxy):
    """The same document as JSON."""
    assert proxy.validate(proxy.document, "bootstrap.json")[0] == 0


MANAGER = ["static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config"]
ROUTE = MANAGER + ["route_config", "virtual_hosts", 0, "routes", 0]
MISTAKES = {
    "an unknown field": (MANAGER + ["stat_prefx"], "x", "stat_prefx"),
    "a wrong type": (MANAGER + ["stat_prefix"], {"a": 1}, "stat_prefix"),
    "a number out of range": (
        ["static_resources", "listeners", 0, "address", "socket_address", "port_value"], 70000,
        "port_value"),
    "an unknown cluster": (ROUTE + ["route", "cluster"], "nobody", "nobody"),
    "an unknown extension": (
        MANAGER + ["http_filters", 0, "typed_config", "@type"],
        "type.googleapis.com/no.such.Filter", "no.such.Filter"),
    "a malformed duration": (ROUTE + ["route", "timeout"], "five", "five"),
    "a malformed regular expression": (
        ROUTE + ["match"], {"safe_regex": {"regex": "("}}, "regex"),
    "no route match": (ROUTE + ["match"], {}, "match"),
    "an impossible enumeration": (
        ["static_resources", "clusters", 0, "lb_policy"], "ROUND_ROBINN", "ROUND_ROBIN"),
    "a missing cluster name": (
        ["static_resources", "clusters"], [{"name": "up"}, {"connect_timeout": "1s"}], "name"),
    "a malformed address": (
        ["static_resources", "listeners", 0, "address", "socket_address", "address"], "nowhere.",
        "nowhere."),
    "no filter chain": (["static_resources", "listeners", 0, "filter_chains"], [], "filter_chain"),
    "two oneof fields": (ROUTE + ["match"], {"prefix": "/", "path": "/a"}, "path"),
    "a status out of range": (
        ROUTE, {"match": {"prefix": "/"}, "direct_response": {"status": 1000}}, "direct_response"),
    "a negative timeout": (
        ["static_resources", "clusters", 0, "connect_timeout"], "-1s", "connect_timeout"),
    "a header name that is none": (
        ROUTE + ["request_headers_to_add"], [{"header": {"key": "a\nb", "value": "x"}}],
        "request_headers_to_add"),
}


def changed(document, path, value):
    """A copy of a document with one place changed."""
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_1(proxy, name):
    """File, line and column, the place, what is wrong; when validating and when starting."""
    path, value, word = MISTAKES[name]
    document = changed(proxy.document, path, value)
    code, output = proxy.validate(document)
    assert code == 1, output
    if proxy.kind == "fairlead":
        lines = [line for line in output.splitlines() if line.strip()]
        mistakes = [line for line in lines if re.search(r"bootstrap\.yaml:\d+:\d+: ", line)]
        assert len(mistakes) == 1, output
        assert word in mistakes[0], output


def test_all_mistakes_of_a_file_are_told(proxy):
    """Not only the first."""
    only_fairlead(proxy.kind)
    document = changed(proxy.document, MANAGER + ["stat_prefx"], "x")
    document = changed(document, ["static_resources", "clusters", 0, "connect_timout"], "1s")
    document = changed(document, ROUTE + ["route", "cluster"], "nobody")
    code, output = proxy.validate(document)
    assert code == 1
    for word in ("stat_prefx", "connect_timout", "nobody"):
        assert len([li for li in output.splitlines() if word in li]) == 1, output


def test_a_mistake_names_its_line_and_the_nearest_field(proxy):
    """The place in the file as it is written, and what was probably meant."""
    only_fairlead(proxy.kind)
    text = yaml.dump(changed(proxy.document, MANAGER + ["stat_prefx"], "x"), sort_keys=False)
    line = next(n for n, li in enumerate(text.splitlines(), 1) if "stat_prefx" in li)
    _, output = proxy.validate(text)
    assert f"bootstrap.yaml:{line}:" in output and "stat_prefix" in output, output


def test_a_field_of_envoy_that_is_not_supported_is_told_apart(proxy):
    """Known to Envoy, not supported here: another message than for no such field."""
    only_fairlead(proxy.kind)
    code, output = proxy.validate(changed(
        proxy.document, ["static_resources", "listeners", 0, "freebind"], True))
    assert code == 1 and "freebind" in output
    _, unknown = proxy.validate(changed(
        proxy.document, ["static_resources", "listeners", 0, "freebindx"], True))
    assert "Envoy" in output and output.split("freebind")[1] != unknown.split("freebindx")[1]


@pytest.mark.parametrize("text", ["", "{", "a: [", "- 1", "a: &x [*x]", "\x00", "a: 1\na: 2",
                                  "&a [" * 5000])
def test_text_that_is_no_configuration_is_refused(proxy, text):
    """Exit code 1 and a message; never a crash."""
    code, output = proxy.validate(text)
    if text == "" and proxy.kind == "envoy":
        return
    assert code == 1 and output.strip(), (code, output)


def test_a_missing_file_is_refused(proxy):
    """Exit code 1."""
    done = subprocess.run(proxy.arguments(proxy.directory / "none.yaml"), capture_output=True,
                          timeout=20, check=False)
    assert done.returncode == 1


def test_an_alias_bomb_is_refused_quickly(proxy):
    """Aliases are bounded."""
    lines = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    only_fairlead(proxy.kind)
    started = time.monotonic()
    code, _ = proxy.validate("\n".join(lines))
    assert code == 1 and time.monotonic() - started < 2


def test_version_and_help(proxy):
    """--version names the version; --help the options."""
    for option, word in (("--version", "version"), ("--help", "--concurrency")):
        done = subprocess.run([proxy.binary, option], capture_output=True, timeout=20, check=False)
        assert done.returncode == 0
        assert word in (done.stdout + done.stderr).decode() or option == "--version"


def test_a_port_that_is_taken_is_told(proxy):
    """Exit code 1 and the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", proxy.port))
        other.listen()
        proxy.start(proxy.document, wait=False)
        if proxy.kind == "envoy":
            # Envoy only logs it for a listener.
            assert eventually(lambda: str(proxy.port) in proxy.output())
            return
        assert proxy.wait_exit(10) == 1
        assert str(proxy.port) in proxy.output()


# --- starting and serving ---


def test_start_to_listening(proxy):
    """From exec to an accepted connection, the median of several starts."""
    times = []
    for _ in range(7):
        proxy.start(proxy.document, wait=False)
        while True:
            try:
                socket.create_connection(("127.0.0.1", proxy.port), 1).close()
                break
            except OSError:
                assert proxy.alive(), proxy.output()
                time.sleep(0.001)
        times.append(time.monotonic() - proxy.started_at)
        proxy.signal(signal.SIGKILL)
        proxy.wait_exit()
    print(f"\nstart to listening: {statistics.median(times) * 1000:.1f} ms "
          f"({', '.join(f'{t * 1000:.0f}' for t in times)})")
    if proxy.kind == "fairlead":
        assert statistics.median(times) < START_SECONDS


@pytest.mark.parametrize("workers", [2, 4])
def test_concurrency(proxy, upstream, workers):
    """With several workers all is served and counted once."""
    proxy.start(proxy.document, ("--concurrency", str(workers)))

    def client():
        for _ in range(20):
            assert fetch(proxy.port).status == 200

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert proxy.stat("http.main.downstream_rq_2xx") == 160
    assert proxy.stat("server.concurrency") == workers
    assert len(upstream.requests) == 160


def test_options_reach_the_node(proxy):
    """--service-node and --service-cluster."""
    document = {k: v for k, v in proxy.document.items() if k != "node"}
    proxy.start(document, ("--concurrency", "1", "--service-node", "n1",
                           "--service-cluster", "c1"))
    info = json.loads(proxy.admin("/server_info").body)
    assert info["node"]["id"] == "n1" and info["node"]["cluster"] == "c1"


def test_config_yaml_is_merged(proxy):
    """--config-yaml over the file."""
    proxy.start(proxy.document, ("--concurrency", "1", "--config-yaml", "node: {id: from-yaml}"))
    assert json.loads(proxy.admin("/server_info").body)["node"]["id"] == "from-yaml"


def test_unix_sockets_both_sides(proxy, tmp_path):
    """A listener and an endpoint on Unix sockets."""
    inner, outer = tmp_path / "inner.sock", str(tmp_path / "outer.sock")
    document = changed(proxy.document, ["static_resources", "listeners", 0, "address"],
                       {"pipe": {"path": outer}})
    endpoint = ["static_resources", "clusters", 0, "load_assignment", "endpoints", 0,
                "lb_endpoints", 0, "endpoint", "address"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(inner))
        server.listen()
        proxy.start(changed(document, endpoint, {"pipe": {"path": str(inner)}}))

        def serve():
            peer, _ = server.accept()
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
            peer.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        assert fetch(0, address=outer).body == b"unix"


def test_ipv6(proxy):
    """A listener on ::1."""
    document = changed(proxy.document, ["static_resources", "listeners", 0, "address",
                                        "socket_address", "address"], "::1")
    proxy.start(document)
    assert fetch(proxy.port, address="::1").status == 200


# --- admin ---

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


# --- draining and ending ---


def test_sigterm_drains(proxy, upstream):
    """No new connections, `Connection: close`, the request in flight is answered, exit code 0."""
    upstream.behaviour = after(0.5, reply(200, b"in time"))
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "3"))
    busy, idle = Connection(proxy.port), Connection(proxy.port)
    busy.send(request_bytes())
    upstream.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    if proxy.kind == "envoy":
        # Envoy ends at once.
        assert proxy.wait_exit(10) in (0, -15)
        return
    response = busy.read_response()
    assert response.body == b"in time" and response.value("connection") == "close"
    assert busy.ends_within(3)
    until(lambda: _refused(proxy.port), 2, "the listener to close")
    assert idle.ends_within(5)
    assert proxy.wait_exit(10) == 0


def _refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except OSError:
        return True


def test_a_second_sigterm_ends_at_once(proxy, upstream):
    """Whoever is in a hurry asks twice."""
    upstream.behaviour = after(20, reply())
    proxy.start(proxy.document, ("--concurrency", "1", "--drain-time-s", "30"))
    busy = Connection(proxy.port)
    busy.send(request_bytes())
    upstream.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    if proxy.kind == "fairlead":
        until(lambda: _refused(proxy.port), 2, "the listener to close")
        assert proxy.alive()
        proxy.signal(signal.SIGTERM)
    proxy.wait_exit(2)


def test_an_idle_proxy_ends_soon_after_sigterm(proxy):
    """Nothing in flight: nothing to wait for."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "30"))
    assert fetch(proxy.port).status == 200
    started = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit(10) in ((0,) if proxy.kind == "fairlead" else (0, -15))
    assert time.monotonic() - started < 5


def test_quitquitquit(proxy):
    """Ends the process with exit code 0."""
    proxy.start(proxy.document)
    assert proxy.admin("/quitquitquit", "POST").body == b"OK\n"
    assert proxy.wait_exit(5) == 0


def test_drain_listeners_stops_listening(proxy, upstream):
    """POST /drain_listeners: existing connections go on, new ones are refused."""
    proxy.start(proxy.document)
    kept = Connection(proxy.port)
    kept.send(request_bytes())
    assert kept.read_response().status == 200
    assert proxy.admin("/drain_listeners", "POST").body == b"OK\n"
    until(lambda: _refused(proxy.port), 3, "the listener to close")
    assert proxy.alive()
    assert proxy.admin("/ready").status == 200


def test_drain_listeners_gracefully_says_close(proxy):
    """With ?graceful the answers carry `Connection: close` before the listeners go."""
    proxy.start(proxy.document, ("--concurrency", "1", "--drain-time-s", "2",
                                 "--drain-strategy", "immediate"))
    kept = Connection(proxy.port)
    kept.send(request_bytes())
    assert kept.read_response().status == 200
    assert proxy.admin("/drain_listeners?graceful", "POST").status == 200
    kept.send(request_bytes())
    response = kept.read_response()
    assert response.status == 200 and response.value("connection") == "close"
    until(lambda: _refused(proxy.port), 6, "the listener to close")


def test_healthcheck_fail_and_ok(proxy):
    """After fail the filter says 503 and marks its answers; ok takes it back."""
    check = {"name": "envoy.filters.http.health_check", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}]}}
    filters = [check] + proxy.document["static_resources"]["listeners"][0]["filter_chains"][0][
        "filters"][0]["typed_config"]["http_filters"]
    proxy.start(changed(proxy.document, MANAGER + ["http_filters"], filters))
    assert fetch(proxy.port, "/healthz").status == 200
    assert proxy.admin("/healthcheck/fail", "POST").body == b"OK\n"
    failed = fetch(proxy.port, "/healthz")
    assert failed.status == 503
    assert failed.value("x-envoy-immediate-health-check-fail") is not None
    assert fetch(proxy.port, "/").status == 200
    assert proxy.admin("/ready").status == 503
    assert proxy.admin("/healthcheck/ok", "POST").body == b"OK\n"
    assert fetch(proxy.port, "/healthz").status == 200
    assert proxy.admin("/ready").status == 200


def test_sigusr1_reopens_access_logs(proxy):
    """The old file keeps its lines, the new one gets the following ones; none is lost."""
    proxy.start(proxy.document)
    assert fetch(proxy.port, "/before").status == 200
    until(lambda: proxy.log.exists() and "/before" in proxy.log.read_text(), 5, "the first line")
    moved = proxy.log.with_suffix(".1")
    proxy.log.rename(moved)
    assert fetch(proxy.port, "/between").status == 200
    proxy.signal(signal.SIGUSR1)
    until(proxy.log.exists, 5, "the new file")
    assert fetch(proxy.port, "/after").status == 200
    until(lambda: "/after" in proxy.log.read_text(), 5, "the last line")
    lines = (moved.read_text() + proxy.log.read_text()).splitlines()
    assert sorted(lines) == ["/after 200", "/before 200", "/between 200"]


def test_reopen_logs_by_admin(proxy):
    """POST /reopen_logs does the same."""
    proxy.start(proxy.document)
    assert fetch(proxy.port, "/before").status == 200
    until(lambda: proxy.log.exists() and "/before" in proxy.log.read_text(), 5, "the first line")
    proxy.log.rename(proxy.log.with_suffix(".1"))
    assert proxy.admin("/reopen_logs", "POST").status == 200
    until(proxy.log.exists, 5, "the new file")


def test_an_access_log_on_stdout(proxy):
    """The stdout logger writes to the process's standard output."""
    log = [{"name": "stdout", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"text_format_source": {"inline_string": "LINE %REQ(:PATH)%\n"}}}}]
    proxy.start(changed(proxy.document, MANAGER + ["access_log"], log))
    assert fetch(proxy.port, "/to-stdout").status == 200
    until(lambda: "LINE /to-stdout" in proxy.output(), 5, "the line")


def test_the_default_access_log_format(proxy):
    """Envoy's own line, when no format is given."""
    log = [{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(proxy.log)}}]
    proxy.start(changed(proxy.document, MANAGER + ["access_log"], log))
    assert fetch(proxy.port, "/p", headers={"user-agent": "test/1"}).status == 200
    until(lambda: proxy.log.exists() and proxy.log.read_text(), 5, "a line")
    assert re.fullmatch(
        r'\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET /p HTTP/1\.1" 200 - 0 5 \d+ \d+ "-" '
        r'"test/1" "[0-9a-f-]{36}" "test\.example" "127\.0\.0\.1:\d+"\n', proxy.log.read_text())


def test_nothing_is_lost_while_it_drains(proxy, upstream):
    """Clients that open a connection for each request and reconnect see only whole answers until
    the listener is closed; keep-alive clients are told to go."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "2"))
    if proxy.kind == "envoy":
        pytest.skip("Envoy ends at once on SIGTERM")
    broken, served, done = [], [], threading.Event()

    def client():
        connection = None
        while not done.is_set():
            try:
                connection = connection or Connection(proxy.port, timeout=5)
            except OSError:
                return
            connection.send(request_bytes())
            try:
                response = connection.read_response()
                served.append(response.status)
                if response.value("connection") == "close":
                    return
            except ConnectionEnded as end:
                # An idle connection may be closed when the drain ends; a request in flight may not.
                broken.append(end)
                return

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(served) > 50, 5, "some traffic")
    proxy.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(10)
    done.set()
    assert not broken and set(served) == {200}
    assert proxy.wait_exit(10) == 0


def test_a_crash_report_is_not_silent(proxy):
    """SIGABRT leaves a report on standard error that names the signal."""
    only_fairlead(proxy.kind)
    proxy.start(proxy.document)
    os.kill(proxy.process.pid, signal.SIGABRT)
    assert proxy.wait_exit(10) != 0
    assert re.search(r"SIGABRT|signal 6", proxy.output()), proxy.output()
