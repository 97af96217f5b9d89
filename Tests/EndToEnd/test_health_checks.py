"""Active health checks while the proxy runs: hosts that fall ill and recover."""

import ssl
import threading

import pytest

from harness.certificates import Authority
from harness.client import fetch
from harness.discovery import (
    CLUSTERS, ENDPOINTS, ResourceFile, assignment, eds_cluster, endpoint)
from harness.http2 import Server
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.tls import TLSUpstream, upstream_tls
from harness.upstream import Upstream, reply
from harness.waiting import until

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
QUICK = {"timeout": "1s", "interval": "0.05s", "no_traffic_interval": "0.05s"}
HTTP2 = {HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}",
                        "explicit_http_config": {"http2_protocol_options": {}}}}
NO_PANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}


def checks(unhealthy=3, healthy=2, **check):
    """Health checks that come quickly."""
    check = check or {"http_health_check": {"path": "/healthz"}}
    return {**NO_PANIC, "health_checks": [
        {**QUICK, "unhealthy_threshold": unhealthy, "healthy_threshold": healthy, **check}]}


@pytest.fixture
def run(proxy_kind):
    """Starts a proxy with a cluster `up`, of these ports or of a file; returns (proxy, port)."""
    open_ = []

    def start(*ports, eds=None, **extra):
        port = free_port()
        up = eds_cluster("up", eds.source, **extra) if eds else cluster("up", *ports, **extra)
        proxy = Proxy(proxy_kind).start(bootstrap([listener("main", port)], [up], free_port()))
        open_.append(proxy)
        return proxy, port

    yield start
    for proxy in open_:
        proxy.stop()


def stat(proxy, name):
    """A statistic of the cluster's health checks."""
    return proxy.stat(f"cluster.up.health_check.{name}")


def test_a_host_falls_ill_and_recovers(run):
    """Three failures that count take it out, two successes bring it back."""
    with Upstream(reply()) as upstream:
        proxy, port = run(upstream.port, **checks(http_health_check={
            "path": "/healthz", "retriable_statuses": [{"start": 500, "end": 600}]}))
        assert fetch(port).status == 200
        upstream.behaviour = reply(503)
        until(lambda: stat(proxy, "healthy") == 0, 5, "the host to be found ill")
        assert stat(proxy, "failure") >= 3
        answer = fetch(port)
        assert (answer.status, answer.body) == (503, b"no healthy upstream")
        assert "/failed_active_hc" in proxy.admin("/clusters").body.decode()
        upstream.behaviour = reply()
        until(lambda: stat(proxy, "healthy") == 1, 5, "the host to be well again")
        until(lambda: fetch(port).status == 200, 5, "the host to be used again")
        assert "::health_flags::healthy" in proxy.admin("/clusters").body.decode()


def test_an_error_that_is_not_retriable_is_enough(run):
    """One bad answer, whatever the threshold."""
    with Upstream(reply()) as upstream:
        proxy, _ = run(upstream.port, **checks(unhealthy=1000))
        upstream.behaviour = reply(500)
        until(lambda: stat(proxy, "healthy") == 0, 5, "the host to be found ill")


def test_a_connection_is_used_again(run):
    """All checks of a host on one connection, unless told otherwise."""
    with Upstream(reply()) as upstream:
        proxy, _ = run(upstream.port, **checks())
        until(lambda: stat(proxy, "success") >= 5, 5, "five checks")
        assert len(upstream.links) == 1
    with Upstream(reply()) as upstream:
        proxy, _ = run(upstream.port, **checks(
            reuse_connection=False, http_health_check={"path": "/"}))
        until(lambda: stat(proxy, "success") >= 5, 5, "five checks")
        assert len(upstream.links) >= 5


def test_answers_of_every_framing(run):
    """A length, chunks with trailers, the connection's end, and an interim answer before."""
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ]
    for data in answers:
        def bit_by_bit(exchange, data=data):
            for byte in data:
                exchange.send(bytes([byte]))
        with Upstream(bit_by_bit) as upstream:
            proxy, _ = run(upstream.port, **checks())
            until(lambda p=proxy: stat(p, "success") >= 2, 5, f"checks answered by {data}")
            assert stat(proxy, "failure") == 0

    def closing(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        exchange.link.socket.close()
    with Upstream(closing) as upstream:
        proxy, _ = run(upstream.port, **checks())
        until(lambda: stat(proxy, "success") >= 2, 5, "checks whose answers the end ends")


@pytest.mark.parametrize("answer", [
    b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100], ids=lambda data: data[:20].decode())
def test_an_answer_that_is_none(run, answer):
    """Fails the check, and nothing else."""
    with Upstream(lambda exchange: exchange.send(answer)) as upstream:
        proxy, port = run(upstream.port, **checks(unhealthy=1))
        until(lambda: stat(proxy, "network_failure") >= 2, 10, "two failed checks")
        assert fetch(port).status == 503


def test_checks_speak_tls_where_the_cluster_does(run, tmp_path):
    """With the cluster's own context."""
    authority = Authority(tmp_path)
    server = authority.issue("server", "DNS:server.example")
    with TLSUpstream(server) as upstream:
        proxy, port = run(upstream.port, transport_socket=upstream_tls(
            sni="server.example", common_tls_context={"validation_context": authority.trust}),
            **checks())
        until(lambda: stat(proxy, "success") >= 2, 5, "two checks")
        assert fetch(port).status == 200
        assert "server.example" in upstream.names


HTTP2_CHECK = {"http_health_check": {"path": "/healthz", "codec_client_type": "HTTP2"}}
GRPC_CHECK = {"grpc_health_check": {"service_name": "pkg.Echo"}}


@pytest.mark.parametrize("check", [HTTP2_CHECK, GRPC_CHECK], ids=["HTTP2", "gRPC"])
@pytest.mark.parametrize("own,options,agreed", [
    (None, None, None), (["h2"], None, "h2"), (None, ["h2"], "h2"), (["h2"], ["h3"], None)])
def test_checks_over_http2_speak_tls_and_ask_for_their_protocol(
        run, tmp_path, check, own, options, agreed):
    """By ALPN: what `tls_options` say, else what the cluster's context does."""
    authority = Authority(tmp_path)
    server = authority.issue("server", "DNS:server.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.set_alpn_protocols(["h2"])

    def answer(peer, request):
        if request.headers[":path"] == "/healthz":
            return peer.answer(request.stream)
        return peer.answer(
            request.stream, 200, b"\0\0\0\0\2\x08\1", [("content-type", "application/grpc")],
            [("grpc-status", "0")])

    upstream = Server(answer, context=context)
    common = {"validation_context": authority.trust, **({"alpn_protocols": own} if own else {})}
    more = {"tls_options": {"alpn_protocols": options}} if options else {}
    try:
        proxy, _ = run(
            upstream.port, transport_socket=upstream_tls(
                sni="server.example", common_tls_context=common),
            typed_extension_protocol_options=HTTP2, **checks(**check, **more))
        until(lambda: stat(proxy, "success") >= 3, 5, "three checks")
        assert {peer.sock.selected_alpn_protocol() for peer in upstream.peers} == {agreed}
        assert {r.headers[":scheme"] for r in upstream.requests} == {"https"}
        assert {r.headers["user-agent"] for r in upstream.requests} == {"Envoy/HC"}
        assert len(upstream.peers) == 1
    finally:
        upstream.stop()


@pytest.mark.parametrize("check", [HTTP2_CHECK, GRPC_CHECK], ids=["HTTP2", "gRPC"])
def test_checks_over_http2_time_out(run, check):
    """A server that takes the question and says nothing."""
    upstream = Server(lambda peer, request: None)
    try:
        proxy, port = run(
            upstream.port, typed_extension_protocol_options=HTTP2,
            **checks(unhealthy=1, timeout="0.1s", **check))
        until(lambda: stat(proxy, "network_failure") >= 3, 5, "three failures")
        assert "/active_hc_timeout" in proxy.admin("/clusters").body.decode()
        assert fetch(port).status == 503
    finally:
        upstream.stop()


def test_listeners_open_when_hosts_have_been_checked(run):
    """A request never meets a host of which nothing is known."""
    with Upstream(reply()) as upstream:
        proxy, port = run(upstream.port, **checks())
        assert fetch(port).status == 200
        assert stat(proxy, "success") >= 1
        assert upstream.requests[0].target == "/healthz"


class Checks:
    """What an upstream answers to checks, which may be held back; requests get its name."""

    def __init__(self, name, status=200):
        self.name = name
        self.status = status
        self.go = threading.Event()
        self.go.set()

    def __call__(self, exchange):
        if exchange.request.target == "/healthz":
            self.go.wait(10)
            return reply(self.status)(exchange)
        return reply(200, self.name)(exchange)


@pytest.fixture
def ups():
    """Two upstreams and their behaviours, by name."""
    behaviours = {"a": Checks(b"a"), "b": Checks(b"b")}
    all_ = {name: Upstream(behaviour) for name, behaviour in behaviours.items()}
    yield all_, behaviours
    for name, upstream in all_.items():
        behaviours[name].go.set()
        upstream.stop()


@pytest.fixture
def follow(proxy_kind, tmp_path):
    """Starts a proxy whose clusters come from a file; returns (proxy, what asks `up`)."""
    open_ = []

    def start(clusters):
        port = free_port()
        proxy = Proxy(proxy_kind).start(bootstrap(
            [listener("main", port, [{"match": {"prefix": "/"}, "route": {"cluster_header": "c"}}])],
            [], free_port(),
            dynamic_resources={"cds_config": clusters.source}), ("--concurrency", "2"))
        open_.append(proxy)
        return proxy, lambda: fetch(port, headers=[("c", "up")])

    yield start
    for proxy in open_:
        proxy.stop()


def test_a_cluster_takes_its_place_when_its_hosts_have_been_checked(follow, ups, tmp_path):
    """The version before serves until then, and its checks end with it."""
    upstreams, behaviours = ups
    clusters = ResourceFile(tmp_path / "clusters.yaml")
    clusters.put(CLUSTERS, cluster("up", upstreams["a"].port, **checks()))
    proxy, ask = follow(clusters)
    assert ask().body == b"a"
    behaviours["b"].go.clear()
    clusters.put(CLUSTERS, cluster("up", upstreams["b"].port, **checks()))
    upstreams["b"].wait_requests(1)
    assert ask().body == b"a"
    assert proxy.stat("cluster_manager.warming_clusters") == 1
    behaviours["b"].go.set()
    until(lambda: ask().body == b"b", what="the new version to serve")
    until(lambda: all(link.ended for link in upstreams["a"].links), what="the old checks to end")
    assert stat(proxy, "healthy") == 1


def test_checks_end_with_their_cluster(follow, ups, tmp_path):
    """A cluster that leaves asks nobody any more."""
    upstreams, _ = ups
    clusters = ResourceFile(tmp_path / "clusters.yaml")
    clusters.put(CLUSTERS, cluster("up", upstreams["a"].port, **checks()))
    _, ask = follow(clusters)
    clusters.put(CLUSTERS)
    until(lambda: ask().status == 503, what="the cluster to leave")
    until(lambda: all(link.ended for link in upstreams["a"].links), what="the checks to end")


def test_a_host_that_comes_is_used_when_it_has_been_checked(run, ups, tmp_path):
    """Until then requests go to those that are known to be well."""
    upstreams, behaviours = ups
    file = ResourceFile(tmp_path / "endpoints.yaml")
    file.put(ENDPOINTS, assignment("up", upstreams["a"].port))
    proxy, port = run(eds=file, **checks())
    behaviours["b"].go.clear()
    file.put(ENDPOINTS, assignment("up", upstreams["a"].port, upstreams["b"].port))
    upstreams["b"].wait_requests(1)
    assert "::health_flags::/failed_active_hc\n" in proxy.admin("/clusters").body.decode()
    assert {fetch(port).body for _ in range(4)} == {b"a"}
    behaviours["b"].go.set()
    until(lambda: fetch(port).body == b"b", what="the new host to be used")
    assert stat(proxy, "healthy") == 2


@pytest.mark.parametrize("counts", [True, False])
def test_hosts_that_have_not_been_checked_may_count_for_panic(run, ups, tmp_path, counts):
    """One host that is well of two is too few, unless new ones are left out until they are checked."""
    upstreams, behaviours = ups
    file = ResourceFile(tmp_path / "endpoints.yaml")
    file.put(ENDPOINTS, assignment("up", upstreams["a"].port))
    proxy, port = run(eds=file, **{**checks(), "common_lb_config": {
        "healthy_panic_threshold": {"value": 60}, "ignore_new_hosts_until_first_hc": not counts}})
    behaviours["b"].go.clear()
    file.put(ENDPOINTS, assignment("up", upstreams["a"].port, upstreams["b"].port))
    upstreams["b"].wait_requests(1)
    assert {fetch(port).body for _ in range(4)} == ({b"a", b"b"} if counts else {b"a"})
    shown = proxy.admin("/clusters").body.decode()
    assert ("/failed_active_hc/pending_active_hc" in shown) is not counts
    assert proxy.stat("cluster.up.membership_excluded") == (0 if counts else 1)


def test_a_host_that_is_checked_elsewhere_is_another_host(run, ups, tmp_path):
    """What was found at the port before says nothing about it; the host before stays until it is ill."""
    upstreams, behaviours = ups
    behaviours["b"].status = 500
    file = ResourceFile(tmp_path / "endpoints.yaml")
    one = endpoint(upstreams["a"].port)
    file.put(ENDPOINTS, assignment("up", one))
    proxy, port = run(eds=file, **checks())
    one["endpoint"]["health_check_config"] = {"port_value": upstreams["b"].port}
    file.put(ENDPOINTS, assignment("up", one))
    until(lambda: upstreams["b"].requests, what="the other port to be asked")
    assert proxy.stat("cluster.up.membership_total") == 2
    assert fetch(port).status == 200
    behaviours["a"].status = 500
    until(lambda: fetch(port).status == 503, what="the host before to be found ill")
    one["endpoint"]["health_check_config"] = {"disable_active_health_check": True}
    file.put(ENDPOINTS, assignment("up", one))
    until(lambda: fetch(port).status == 200, what="the host not to be checked")
    assert "::health_flags::healthy" in proxy.admin("/clusters").body.decode()


def test_a_host_that_is_well_stays_although_discovery_has_lost_it(run, ups, tmp_path):
    """It is marked, leaves when its checks fail, and comes back as it was before that."""
    upstreams, behaviours = ups
    file = ResourceFile(tmp_path / "endpoints.yaml")
    both = assignment("up", upstreams["a"].port, upstreams["b"].port)
    only_b = assignment("up", upstreams["b"].port)
    file.put(ENDPOINTS, both)
    proxy, port = run(eds=file, **checks())

    def shown():
        return proxy.admin("/clusters").body.decode()

    assert proxy.stat("cluster.up.membership_total") == 2
    file.put(ENDPOINTS, only_b)
    until(lambda: "/pending_dynamic_removal" in shown(), what="the mark")
    assert {fetch(port).body for _ in range(8)} == {b"a", b"b"}
    file.put(ENDPOINTS, both)
    until(lambda: "/pending_dynamic_removal" not in shown(), what="the mark to go")
    file.put(ENDPOINTS, only_b)
    until(lambda: "/pending_dynamic_removal" in shown(), what="the mark again")
    behaviours["a"].status = 500
    until(lambda: proxy.stat("cluster.up.membership_total") == 1, what="it to leave")
    assert {fetch(port).body for _ in range(4)} == {b"b"}
    until(lambda: all(link.ended for link in upstreams["a"].links), what="its checks to end")


def test_discovery_is_believed_where_the_cluster_says_so(run, ups, tmp_path):
    """`ignore_health_on_host_removal`."""
    upstreams, _ = ups
    file = ResourceFile(tmp_path / "endpoints.yaml")
    file.put(ENDPOINTS, assignment("up", upstreams["a"].port, upstreams["b"].port))
    proxy, port = run(eds=file, ignore_health_on_host_removal=True, **checks())
    file.put(ENDPOINTS, assignment("up", upstreams["b"].port))
    until(lambda: proxy.stat("cluster.up.membership_total") == 1, what="it to leave")
    assert {fetch(port).body for _ in range(4)} == {b"b"}
    until(lambda: all(link.ended for link in upstreams["a"].links), what="its checks to end")
