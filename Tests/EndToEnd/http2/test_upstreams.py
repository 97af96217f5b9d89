"""HTTP/2 to upstreams: one connection for many requests, and what becomes of it."""

import struct
import subprocess
import threading

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.http2 import DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, Peer, Server, frame
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.waiting import until

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def http2_cluster(port, http2=None, common=None, **extra):
    """A cluster that speaks HTTP/2."""
    options = {"@type": f"type.googleapis.com/{OPTIONS}",
               "explicit_http_config": {"http2_protocol_options": http2 or {}}}
    if common:
        options["common_http_protocol_options"] = common
    return cluster("up", port, typed_extension_protocol_options={OPTIONS: options}, **extra)


@pytest.fixture
def run(proxy_kind):
    """Starts a proxy before an HTTP/2 upstream; returns (proxy, port, upstream)."""
    open_ = []

    def start(behaviour=None, routes=None, settings=(), on_head=None, manager=None, **options):
        upstream, port = Server(behaviour, settings, on_head), free_port()
        proxy = Proxy(proxy_kind).start(bootstrap(
            [listener("main", port, routes, **(manager or {}))],
            [http2_cluster(upstream.port, **options)], free_port()))
        open_.extend([proxy, upstream])
        return proxy, port, upstream

    yield start
    for one in open_:
        one.stop()


def test_a_request_of_http1_becomes_one_of_http2(run):
    """Host is :authority, connection fields are gone, the protocol is counted."""
    proxy, port, upstream = run(
        lambda peer, request: peer.answer(request.stream, 200, b"hello", [("x-from", "up")]))
    response = fetch(port, "/path?q", headers=[
        ("connection", "x-hop"), ("x-hop", "1"), ("te", "trailers"), ("keep-alive", "1")])
    assert response.status == 200 and response.body == b"hello"
    assert response.value("x-from") == "up"
    head = upstream.requests[0].headers
    assert head[":method"] == "GET" and head[":path"] == "/path?q" and head[":scheme"] == "http"
    assert head[":authority"] == "test.example" and head["te"] == "trailers"
    assert not {"host", "connection", "keep-alive", "x-hop"} & set(head)
    stats = proxy.stats("cluster.up")
    assert stats["cluster.up.upstream_cx_http2_total"] == 1
    assert "cluster.up.upstream_cx_http1_total" not in stats


def test_bodies_pass_both_ways(run):
    """Larger than every window there is at first."""
    _, port, upstream = run(
        lambda peer, request: peer.answer(request.stream, 200, request.body[:60_000]))
    body = bytes(range(256)) * 2000
    response = fetch(port, "/", "POST", body=body)
    assert response.body == body[:60_000]
    assert upstream.requests[0].body == body


@pytest.mark.parametrize("kilobytes,common,status", [
    (58, None, 200), (62, None, 502), (62, {"max_response_headers_kb": 64}, 200)])
def test_an_answers_head_has_a_limit(run, kilobytes, common, status):
    """60 KiB unless the cluster says otherwise, and the connection goes on."""
    fields = [(f"x-{n}", "y" * 1015) for n in range(kilobytes)]
    proxy, port, upstream = run(
        lambda peer, request: peer.answer(
            request.stream, fields=fields if request.headers[":path"] == "/large" else ()),
        common=common)
    with Connection(port) as client:
        for target, wanted in (("/large", status), ("/small", 200)):
            client.send(request_bytes(target=target))
            assert client.read_response().status == wanted
    assert len(upstream.peers) == 1
    assert proxy.stat("cluster.up.http2.header_overflow") == (status != 200)


def test_one_connection_carries_many_requests(run):
    """Fifty at once, on one connection."""
    gate = threading.Event()
    waiting = []

    def hold(peer, request):
        waiting.append((peer, request))
        if len(waiting) == 50:
            gate.set()

    proxy, port, upstream = run(hold)
    peer = Peer.client(port)
    peer.send(b"".join(peer.headers(1 + 2 * n) for n in range(50)))
    assert gate.wait(10)
    assert len(upstream.peers) == 1
    for link, request in waiting:
        link.answer(request.stream)
    left = 50
    while left:
        left -= peer.read().ends_stream
    assert proxy.stat("cluster.up.upstream_cx_total") == 1


@pytest.mark.parametrize("theirs,ours", [((3, 2), {}), (None, {"max_concurrent_streams": 2})])
def test_a_full_connection_makes_room_for_another(run, theirs, ours):
    """The peer's limit or ours: five requests take more than one connection."""
    gate = threading.Event()
    waiting = []

    def hold(peer, request):
        if request.headers[":path"] == "/first":
            return peer.answer(request.stream)
        waiting.append((peer, request))
        if len(waiting) == 5:
            gate.set()

    _, port, upstream = run(hold, settings=[theirs] if theirs else (), http2=ours)
    assert fetch(port, "/first").status == 200
    peer = Peer.client(port)
    peer.send(b"".join(peer.headers(1 + 2 * n) for n in range(5)))
    assert gate.wait(10)
    assert len(upstream.peers) >= 2
    for link, request in waiting:
        link.answer(request.stream)
    left = 5
    while left:
        left -= peer.read().ends_stream


def test_a_refused_stream_is_tried_again(run):
    """RST_STREAM with REFUSED_STREAM, and `refused-stream` in the retry policy."""
    def refuse_first(peer, request):
        if len(upstream.requests) == 1:
            peer.send(frame(RST_STREAM, stream=request.stream, payload=struct.pack(">I", 7)))
        else:
            peer.answer(request.stream)

    routes = [{"match": {"prefix": "/"}, "route": {
        "cluster": "up", "retry_policy": {"retry_on": "refused-stream"}}}]
    proxy, port, upstream = run(refuse_first, routes)
    assert fetch(port).status == 200
    assert len(upstream.requests) == 2
    assert proxy.stat("cluster.up.upstream_rq_retry") == 1


def test_a_reset_is_told_as_one(run):
    """503, with Envoy's words."""
    _, port, _ = run(lambda peer, request: peer.send(
        frame(RST_STREAM, stream=request.stream, payload=struct.pack(">I", 2))))
    response = fetch(port)
    assert response.status == 503
    assert response.body == (b"upstream connect error or disconnect/reset before headers. "
                             b"reset reason: remote reset")


def test_a_goaway_moves_requests_to_another_connection(run):
    """What the peer has not looked at is refused; the next request gets a new connection."""
    def go(peer, request):
        peer.answer(request.stream)
        if len(upstream.requests) == 1:
            peer.send(frame(GOAWAY, payload=struct.pack(">II", request.stream, 0)))

    proxy, port, upstream = run(go)
    assert fetch(port).status == 200
    until(lambda: proxy.stat("cluster.up.upstream_cx_close_notify") == 1, 5, "GOAWAY to arrive")
    assert fetch(port).status == 200
    assert len(upstream.peers) == 2


@pytest.mark.unsanitized("each worker has its connections")
def test_a_client_that_leaves_cancels(run):
    """RST_STREAM with CANCEL, and the connection stays."""
    started = threading.Event()
    proxy, port, upstream = run(
        lambda peer, request: started.set() if request.headers[":path"] == "/hang"
        else peer.answer(request.stream))
    peer = Peer.client(port)
    peer.send(peer.headers(1, path="/hang"))
    assert started.wait(5)
    peer.close()
    until(lambda: upstream.resets, 5, "the reset to arrive")
    assert upstream.resets[0][1] == 8
    assert fetch(port).status == 200
    assert len(upstream.peers) == 1 and proxy.alive()


def test_trailers_pass_from_end_to_end(run):
    """Both ways, HTTP/2 on both sides."""
    _, port, upstream = run(lambda peer, request: peer.answer(
        request.stream, 200, b"ok", trailers=[("x-end", "yes")]))
    peer = Peer.client(port)
    peer.send(peer.headers(1, method="POST", end=False) + frame(DATA, 0, 1, b"body")
              + peer.section(1, [("x-sum", "4")]))
    headers, body, trailers = peer.response()
    assert headers[":status"] == "200" and body == b"ok" and trailers == {"x-end": "yes"}
    assert upstream.requests[0].body == b"body"
    assert upstream.requests[0].trailers == {"x-sum": "4"}


def test_a_slow_client_closes_the_upstreams_window(run):
    """The upstream is not read further than its window."""
    def large(peer, request):
        peer.send(peer.section(request.stream, [(":status", "200")], end=False))
        for _ in range(4):
            peer.send(frame(DATA, 0, request.stream, b"x" * 16000))

    windows = []
    _, port, upstream = run(large, http2={"initial_stream_window_size": 65535})
    peer = Peer.client(port, settings=[(4, 0)])
    peer.send(peer.headers(1))
    peer.until(lambda f: f.kind == HEADERS)
    until(lambda: upstream.requests, 5, "the request to arrive")
    assert not windows


def test_a_websocket_to_an_http2_upstream(run):
    """An upgrade becomes an extended CONNECT (RFC 8441)."""
    def accept(peer, request):
        peer.send(peer.section(request.stream, [(":status", "200")], end=False)
                  + frame(DATA, 0, request.stream, b"hello"))

    _, port, upstream = run(
        None, settings=[(8, 1)], on_head=accept,
        manager={"upgrade_configs": [{"upgrade_type": "websocket"}]})
    done = subprocess.run(
        ["curl", "-s", "-i", "-N", "--max-time", "2", "-H", "connection: upgrade",
         "-H", "upgrade: websocket", f"http://127.0.0.1:{port}/chat"],
        capture_output=True, timeout=10, check=False)
    assert done.stdout.startswith(b"HTTP/1.1 101 ") and done.stdout.endswith(b"hello")
    head = upstream.requests[0].headers
    assert head[":method"] == "CONNECT" and head[":protocol"] == "websocket"
    assert head[":path"] == "/chat" and "upgrade" not in head


def test_pings_keep_an_upstream_honest(run):
    """connection_keepalive: an upstream that does not answer is left."""
    def silent(peer, request):
        peer.answer(request.stream)
        peer.read = lambda: peer.sock.recv(0) or None

    proxy, port, _ = run(silent, http2={
        "connection_keepalive": {"interval": "0.2s", "timeout": "0.2s"}})
    assert fetch(port).status == 200
    proxy.wait_stat("cluster.up.http2.keepalive_timeout", 1)


@pytest.mark.parametrize("fields", [
    [], [(":status", "abc")], [(":status", "200"), ("connection", "close")],
    [(":status", "200"), ("X-Upper", "1")], [(":status", "101")],
    [(":status", "200"), ("content-length", "5")]])
def test_answers_that_are_none_are_refused(run, fields):
    """502, and nothing of it reaches the client."""
    proxy, port, _ = run(
        lambda peer, request: peer.send(peer.section(request.stream, fields)))
    response = fetch(port)
    assert response.status in (502, 503) and proxy.alive()


def test_idle_connections_close(run):
    """The cluster's idle timeout."""
    proxy, port, _ = run(common={"idle_timeout": "0.2s"})
    assert fetch(port).status == 200
    proxy.wait_stat("cluster.up.upstream_cx_idle_timeout", 1)
    until(lambda: proxy.stat("cluster.up.upstream_cx_active") == 0, 5, "the connection to close")


def test_settings_are_the_configured_ones(run):
    """What the upstream is told."""
    _, port, upstream = run(http2={"max_concurrent_streams": 9,
                                   "initial_stream_window_size": 70000})
    assert fetch(port).status == 200
    until(lambda: upstream.peers[0].settings, 5, "SETTINGS")
    settings = upstream.peers[0].settings
    assert settings[2] == 0 and settings[3] == 9 and settings[4] == 70000
    assert SETTINGS == 4
