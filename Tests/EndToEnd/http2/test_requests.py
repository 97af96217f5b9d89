"""HTTP/2 from clients: real ones, and peers that send what they like."""

import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from harness.client import fetch
from harness.http2 import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, Peer,
    frame)
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

def logged(proxy):
    """The access log's lines, once there is one."""
    until(lambda: proxy.log.exists() and proxy.log.read_text(), 5, "a line in the access log")
    return proxy.log.read_text().splitlines()


def curl(port, *arguments, path="/"):
    """curl with prior knowledge; (status, protocol, body)."""
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "-w", "\n%{http_code} %{http_version}",
         *arguments, f"http://127.0.0.1:{port}{path}"],
        capture_output=True, timeout=30, check=True)
    body, _, last = done.stdout.rpartition(b"\n")
    status, version = last.decode().split()
    return int(status), version, body


def test_curl_is_answered(run):
    """A request and its answer, with the protocol in the log and the statistics."""
    proxy, port, upstream = run(reply(200, b"hello", [("x-from", "up")]))
    assert curl(port) == (200, "2", b"hello")
    request = upstream.requests[0]
    assert request.version == "HTTP/1.1" and request.value("host") == f"127.0.0.1:{port}"
    assert logged(proxy) == ["GET / HTTP/2 200 - via_upstream 0 5"]
    stats = proxy.stats("http")
    assert stats["http.main.downstream_cx_http2_total"] == 1
    assert stats["http.main.downstream_rq_http2_total"] == 1
    assert "http.main.downstream_rq_http1_total" not in stats


def test_http1_is_still_spoken(run):
    """AUTO takes what the client begins with."""
    _, port, _ = run(reply(200, b"one"))
    assert fetch(port).body == b"one"
    assert curl(port)[:2] == (200, "2")


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 300_000])
def test_bodies_pass_both_ways(run, size):
    """Bodies of every size, longer than frames and windows."""
    def echo(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(exchange.request.body)
                      + exchange.request.body)

    _, port, _ = run(echo)
    body = os.urandom(size)
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "--data-binary", "@-", "-H", "expect:",
         f"http://127.0.0.1:{port}/"],
        input=body, capture_output=True, timeout=30, check=True)
    assert done.stdout == body


def test_http1_alone_where_it_is_said(run):
    """`codec_type: HTTP1` takes the preface for the bad request that it is there."""
    _, port, _ = run(codec_type="HTTP1")
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_the_preface_may_come_in_pieces(run):
    """Byte by byte, and still HTTP/2."""
    _, port, _ = run(reply(200, b"x"))
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = Peer(sock)
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Peer.settings_frame() + peer.headers(1):
        sock.sendall(bytes([byte]))
    headers, body, _ = peer.response()
    assert headers[":status"] == "200" and body == b"x"


def test_many_streams_at_once(run):
    """A hundred requests are under way together."""
    gate = threading.Event()

    def wait(exchange):
        gate.wait(10)
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")

    proxy, port, upstream = run(wait)
    peer = Peer.client(port)
    peer.send(b"".join(peer.headers(1 + 2 * n) for n in range(100)))
    until(lambda: len(upstream.requests) == 100, 10, "all requests to arrive")
    assert proxy.stat("http2.streams_active") == 100
    gate.set()
    ended = set()
    while len(ended) < 100:
        found = peer.read()
        if found.ends_stream:
            ended.add(found.stream)
    peer.close()
    until(lambda: proxy.stat("http2.streams_active") == 0, 5, "no stream to be left")


@pytest.mark.skipif(not shutil.which("h2load"), reason="apt install nghttp2-client")
def test_h2load(run):
    """Ten thousand requests on ten connections, all answered."""
    _, port, _ = run(reply(200, b"x" * 1000))
    done = subprocess.run(
        ["h2load", "-n", "10000", "-c", "10", "-m", "20", f"http://127.0.0.1:{port}/"],
        capture_output=True, timeout=120, check=True, text=True)
    assert "10000 succeeded, 0 failed, 0 errored" in done.stdout


@pytest.mark.alone("how much is in flight at once")
@pytest.mark.unsanitized("keeps freed memory")
@pytest.mark.skipif(not shutil.which("h2load"), reason="apt install nghttp2-client")
def test_h2load_leaves_nothing_behind(run):
    """Memory does not grow for ever with many connections with many streams each. It may grow with the
    first loads: how much is in flight at once is the scheduler's choice."""
    proxy, port, _ = run(reply(200, b"x" * 1000))

    def load():
        subprocess.run(
            ["h2load", "-n", "20000", "-c", "50", "-m", "100", f"http://127.0.0.1:{port}/"],
            capture_output=True, timeout=60, check=True)
        until(lambda: proxy.stat("http.main.downstream_cx_active") == 0, 5, "no connection left")
        return proxy.resident_kib()

    loads = [load(), load()]
    # Sixteen bytes for each request would be 312 KiB, every time.
    while loads[-1] - loads[-2] >= 128:
        assert len(loads) < 15, loads
        loads.append(load())
    assert max(loads) < 64 * 1024, loads


def test_trailers_reach_http1_where_it_has_them(run):
    """Trailers of the request go on in the last chunk's place; those of the response come back."""
    def answer(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                      b"2\r\nok\r\n0\r\nx-end: yes\r\n\r\n")

    upstream, port = Upstream(answer), free_port()
    options = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}
    with Proxy("fairlead").start(bootstrap(
            [listener("main", port)],
            [cluster("up", upstream.port, typed_extension_protocol_options=options)],
            free_port())):
        peer = Peer.client(port)
        peer.send(peer.headers(1, method="POST", end=False) + frame(DATA, 0, 1, b"body")
                  + peer.section(1, [("x-sum", "4")]))
        headers, body, trailers = peer.response()
        assert headers[":status"] == "200" and body == b"ok" and trailers == {"x-end": "yes"}
        request = upstream.requests[0]
        assert request.body == b"body" and ("x-sum", "4") in request.trailers
    upstream.stop()


@pytest.mark.parametrize("fields,status", [
    ([("x", "a" * 62_000)], "431"),
    ([(f"x-{n}", "1") for n in range(101)], "431"),
    ([(f"x-{n}", "1") for n in range(95)], "200"),
    ([("x", "a" * 61_000)], "200"),
    ([("cookie", f"c{n}=1") for n in range(150)], "200"),
    ([("host", "other")], "400"),
    ([("host", "host")], "200"),
])
def test_heads_meet_the_limits_of_http1(run, fields, status):
    """60 KiB and 100 fields; a host that is another one."""
    proxy, port, _ = run()
    peer = Peer.client(port)
    block = peer.encoder.encode(
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "host"), *fields],
        huffman=False)
    pieces = [block[n:n + 16384] for n in range(0, len(block), 16384)]
    for place, piece in enumerate(pieces):
        last = END_HEADERS if place == len(pieces) - 1 else 0
        kind = HEADERS if place == 0 else CONTINUATION
        peer.send(frame(kind, last | (END_STREAM if place == 0 else 0), 1, piece))
    assert peer.response()[0][":status"] == status
    peer.send(peer.headers(3))
    assert peer.response(3)[0][":status"] == "200"
    assert proxy.alive()


def test_cookie_crumbs_become_one_field(run):
    """RFC 9113 §8.2.3: joined with a semicolon for HTTP/1."""
    _, port, upstream = run()
    peer = Peer.client(port)
    peer.send(peer.headers(1, [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]))
    peer.response()
    assert upstream.requests[0].values("cookie") == ["a=1; b=2; c=3"]


@pytest.mark.parametrize("path", ["/a b", "/\u00e9", "/a\x01", "a", ""])
def test_paths_that_are_none_are_refused(run, path):
    """What could become two requests in HTTP/1 goes nowhere."""
    proxy, port, upstream = run()
    peer = Peer.client(port)
    peer.send(peer.headers(1, path=path))
    found = peer.until(lambda f: f.kind in (HEADERS, RST_STREAM, GOAWAY))
    assert found is None or found.kind != HEADERS or found.headers[":status"] == "400"
    assert not upstream.requests and proxy.alive()


def test_a_client_that_cancels_is_passed_on(run):
    """RST_STREAM ends the request to the upstream, and only that."""
    started = threading.Event()

    def hang(exchange):
        if exchange.request.target == "/hang":
            started.set()
            exchange.link.socket.recv(1)
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    proxy, port, upstream = run(hang)
    peer = Peer.client(port)
    peer.send(peer.headers(1, path="/hang"))
    assert started.wait(5)
    peer.send(frame(RST_STREAM, stream=1, payload=struct.pack(">I", 8)) + peer.headers(3))
    assert peer.response(3)[0][":status"] == "200"
    until(lambda: len(logged(proxy)) == 2, 5, "both lines")
    assert sorted(logged(proxy))[0] == "GET / HTTP/2 200 - via_upstream 0 0"
    line = [one for one in logged(proxy) if "/hang" in one][0]
    assert line.split()[3:6] == ["0", "DR", "http2.remote_reset"]
    assert proxy.stat("http2.rx_reset") == 1


def test_an_answer_to_half_a_request_ends_its_stream(run):
    """The answer is whole, then RST_STREAM with NO_ERROR (RFC 9113 §8.1)."""
    _, port, _ = run()
    routes = [{"match": {"prefix": "/"}, "direct_response": {
        "status": 403, "body": {"inline_string": "no"}}}]
    with Proxy("fairlead").start(bootstrap([listener("main", port := free_port(), routes)], [],
                                           free_port())):
        peer = Peer.client(port)
        peer.send(peer.headers(1, method="POST", end=False))
        assert peer.response()[:2][1] == b"no"
        found = peer.until(lambda f: f.kind == RST_STREAM)
        assert found.stream == 1 and found.code == 0
        peer.send(frame(DATA, 0, 1, b"late") + peer.headers(3))
        assert peer.response(3)[0][":status"] == "403"


def test_an_upstream_that_breaks_off_resets_the_stream(run):
    """A body cut short never looks whole."""
    def cut(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        exchange.fin()

    _, port, _ = run(cut)
    peer = Peer.client(port)
    peer.send(peer.headers(1))
    found = peer.until(lambda f: f.kind == RST_STREAM or f.ends_stream)
    assert found.kind == RST_STREAM and found.code != 0


def test_a_slow_reader_costs_no_more_than_its_queue(run):
    """A hundred streams without a window: memory stays, and others are served."""
    def large(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
        for _ in range(100):
            exchange.send(b"x" * 100_000)

    proxy, port, upstream = run(large)
    before = proxy.resident_kib()
    peer = Peer.client(port, settings=[(4, 0)])
    peer.send(b"".join(peer.headers(1 + 2 * n) for n in range(100)))
    until(lambda: len(upstream.requests) == 100, 10, "all requests to arrive")
    until(lambda: proxy.stat("cluster.up.upstream_rq_active") == 100, 5, "all to be answered")
    assert proxy.resident_kib() - before < 64 * 1024
    peer.close()


def test_a_drain_lets_streams_finish(run):
    """GOAWAY twice: a notice, then the last stream; what runs is answered."""
    gate = threading.Event()

    def wait(exchange):
        gate.wait(10)
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    proxy, port, upstream = run(wait, drain_timeout="0.2s")
    peer = Peer.client(port)
    peer.send(peer.headers(1))
    until(lambda: upstream.requests, 5, "the request to arrive")
    proxy.process.terminate()
    first = peer.until(lambda f: f.kind == GOAWAY)
    assert struct.unpack(">I", first.payload[:4])[0] == 0x7FFFFFFF and first.code == 0
    second = peer.until(lambda f: f.kind == GOAWAY)
    assert struct.unpack(">I", second.payload[:4])[0] == 1
    gate.set()
    assert peer.response()[1] == b"ok"
    assert peer.read() is None
    assert proxy.wait_exit() == 0


def test_max_requests_per_connection(run):
    """The connection is drained with the last request it may carry."""
    proxy, port, _ = run(
        drain_timeout="0.1s", common_http_protocol_options={"max_requests_per_connection": 2})
    peer = Peer.client(port)
    peer.send(peer.headers(1))
    peer.response()
    peer.send(peer.headers(3))
    found = peer.until(lambda f: f.kind == GOAWAY)
    assert found.code == 0
    assert proxy.stat("http.main.downstream_cx_max_requests_reached") == 1


def test_idle_connections_are_told_to_go(run):
    """GOAWAY, then the end."""
    _, port, _ = run(common_http_protocol_options={"idle_timeout": "0.2s"})
    peer = Peer.client(port)
    assert peer.until(lambda f: f.kind == GOAWAY).code == 0
    assert peer.read() is None


def test_a_client_that_does_not_answer_pings_is_closed(run):
    """connection_keepalive."""
    proxy, port, _ = run(http2_protocol_options={
        "connection_keepalive": {"interval": "0.2s", "timeout": "0.2s"}})
    peer = Peer.client(port)
    assert peer.until(lambda f: f.kind == PING) is not None
    assert peer.until(lambda f: False) is None
    assert proxy.stat("http2.keepalive_timeout") == 1


def test_settings_are_the_configured_ones(run):
    """What the client is told."""
    _, port, _ = run(http2_protocol_options={
        "max_concurrent_streams": 7, "initial_stream_window_size": 70000,
        "initial_connection_window_size": 80000, "hpack_table_size": 1024, "allow_connect": True})
    peer = Peer.client(port)
    peer.until(lambda f: f.kind == SETTINGS)
    assert peer.settings == {1: 1024, 3: 7, 4: 70000, 8: 1}


def test_a_websocket_over_http2(run):
    """Extended CONNECT becomes an upgrade (RFC 8441), and bytes pass both ways."""
    def upgrade(exchange):
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                      b"connection: upgrade\r\n\r\n")
        data = exchange.link.exactly(4)
        exchange.send(b"got " + data)
        exchange.fin()

    _, port, upstream = run(
        upgrade, http2_protocol_options={"allow_connect": True},
        upgrade_configs=[{"upgrade_type": "websocket"}])
    peer = Peer.client(port)
    peer.until(lambda f: f.kind == SETTINGS)
    peer.send(peer.section(1, [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
        (":authority", "host"), ("sec-websocket-version", "13")], end=False))
    found = peer.until(lambda f: f.kind == HEADERS)
    assert found.headers[":status"] == "200" and "upgrade" not in found.headers
    peer.send(frame(DATA, 0, 1, b"ping"))
    assert peer.until(lambda f: f.kind == DATA).payload == b"got ping"
    request = upstream.requests[0]
    assert request.method == "GET" and request.target == "/chat"
    assert request.value("upgrade") == "websocket"
    assert request.value("connection").lower() == "upgrade"
