"""Floods on HTTP/1: whatever a peer sends without end, memory grows by less than 64 MiB and another
client is served within 300 ms all the while."""

import socket
import threading
import time

import pytest

from harness.client import Connection, ConnectionEnded, request_bytes
from harness.pour import pour
from harness.probe import Probe
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, on_head, raw, reply

pytestmark = pytest.mark.alone("how long another client waits meanwhile")

MEMORY_KIB = 64 * 1024
LONGEST_SECONDS = 0.3
# How long each flood lasts.
SECONDS = 2
# At the edge, what a connection may hold.
BUFFER = 32 * 1024

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def site(proxy_kind):
    """One proxy at an edge, an upstream that floods, and another client with its own upstream."""
    probe, port = Probe(), free_port()
    routes = [{"match": {"prefix": path}, "route": {"cluster": name, "timeout": "0s"}}
              for path, name in (("/flood", "flood"), ("/", "up"))]
    flood = Upstream(reply())
    front = listener("main", port, routes, request_headers_timeout="10s",
                     delayed_close_timeout="0.1s")
    front["per_connection_buffer_limit_bytes"] = BUFFER
    proxy = Proxy(proxy_kind).start(bootstrap(
        [front],
        [cluster("up", probe.upstream_port),
         cluster("flood", flood.port, per_connection_buffer_limit_bytes=BUFFER)],
        free_port()))
    proxy.port, proxy.flood, proxy.probe = port, flood, probe
    yield proxy
    alive = proxy.alive()
    for one in (proxy, flood, probe):
        one.stop()
    assert alive, f"the proxy died:\n{proxy.output()[-3000:]}"


class Others:
    """Another client, and the proxy's memory meanwhile."""

    def __init__(self, site, answers=3):
        self.site, self.most, self.answers = site, 0, answers
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.ended.wait(0.05):
            self.most = max(self.most, self.site.resident_kib())

    def __enter__(self):
        self.before = self.site.resident_kib()
        self.site.probe.begin(self.site.port)
        self.thread.start()

    def __exit__(self, kind, *_):
        self.ended.set()
        self.thread.join()
        seen = self.site.probe.end()
        if kind:
            return
        grown = self.most - self.before
        print(f"\n{seen['answers']} answers, longest {seen['longest'] * 1000:.0f} ms, {grown} KiB more")
        assert seen["problem"] is None and seen["answers"] >= self.answers, seen
        assert seen["longest"] < LONGEST_SECONDS, f"another client waited {seen['longest']:.3f} s"
        assert grown < MEMORY_KIB, f"{grown} KiB more"


def opened(site, count, start=b""):
    """Connections that have sent something."""
    connections = [Connection(site.port) for _ in range(count)]
    for connection in connections:
        connection.send(start)
    return connections


def closed(connections):
    """Ends them roughly."""
    for connection in connections:
        try:
            connection.reset()
        except OSError:
            pass


CHUNKED = request_bytes("POST", "/flood/sink", {"transfer-encoding": "chunked"})
# Name: (connections, what each sends first, what it sends again and again).
CLIENT_FLOODS = {
    "heads that never end": (300, b"GET / HTTP/1.1\r\nHost: a\r\n", b"x: y\r\n"),
    "head bytes without a line end": (300, b"GET / HTTP/1.1\r\nHost: a\r\nx: ", b"y" * 512),
    "empty lines": (50, b"", b"\r\n" * 512),
    "requests nobody reads the answers of": (50, b"", request_bytes(target="/flood/answer") * 64),
    "chunks of one byte": (50, CHUNKED, b"1\r\nx\r\n" * 512),
    "chunk extensions": (50, CHUNKED, b"1;" + b"e" * 200 + b"\r\nx\r\n"),
    "trailers that never end": (50, CHUNKED + b"0\r\n", b"x: y\r\n"),
    "bodies for an upstream that does not read": (
        50, request_bytes("POST", "/flood/stall", {"content-length": "10000000000"}), b"z" * 65536),
    "malformed requests": (50, b"", b"\x00" * 512),
}


def _by_target(exchange):
    if exchange.request.target.endswith("sink"):
        # Not parsed: that would cost this process more than the flood costs the proxy.
        exchange.ended = True
        while exchange.link.socket.recv(1 << 20):
            pass
    elif exchange.request.target.endswith("answer"):
        reply()(exchange)
    else:
        exchange.wait(SECONDS + 1)


@pytest.mark.parametrize("name", CLIENT_FLOODS)
def test_client_flood(site, name):
    """Many connections that send one thing without end."""
    count, start, piece = CLIENT_FLOODS[name]
    site.flood.behaviour = on_head(_by_target)
    with Others(site):
        sent = pour(site.port, count, start, piece, SECONDS)
        print(f"\n{name}: {sent:,} bytes")
    assert sent > 10_000, f"no flood: {sent} bytes"


def test_connection_flood(site):
    """Connections that come and go, with a request or without, ended in every way."""
    made = 0
    with Others(site):
        end = time.monotonic() + SECONDS
        # At least some of each kind; how many there are is the machine's affair.
        while time.monotonic() < end or made < 400:
            connections = opened(site, 100, b"GET / HTTP/1.1\r\n" if made % 200 else b"")
            made += len(connections)
            closed(connections) if made % 300 else [c.close() for c in connections]
    print(f"\n{made} connections")


def _endless(piece):
    def behaviour(exchange):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not exchange.ended:
            exchange.send(piece)

    return behaviour


# Name: what the upstream sends, without end.
UPSTREAM_FLOODS = {
    "interim answers": _endless(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 64),
    "a head": lambda e: [e.send(OK), _endless(b"x: y\r\n" * 64)(e)],
    "chunks for a client that does not read": lambda e: [
        e.send(OK + b"transfer-encoding: chunked\r\n\r\n"), _endless(b"400\r\n%s\r\n" % (b"z" * 1024))(e)],
    "one-byte chunks": lambda e: [
        e.send(OK + b"transfer-encoding: chunked\r\n\r\n"), _endless(b"1\r\nz\r\n" * 256)(e)],
    "a body until the end": lambda e: [e.send(OK + b"\r\n"), _endless(b"z" * 65536)(e)],
    "trailers": lambda e: [
        e.send(OK + b"transfer-encoding: chunked\r\n\r\n0\r\n"), _endless(b"x: y\r\n" * 64)(e)],
    "a second answer": raw(OK + b"content-length: 1\r\n\r\nx" + OK + b"content-length: 4\r\n\r\nEVIL"),
}


@pytest.mark.parametrize("name", UPSTREAM_FLOODS)
def test_upstream_flood(site, name):
    """Fifty requests to an upstream that sends without end; the clients read nothing."""
    site.flood.behaviour = UPSTREAM_FLOODS[name]
    with Others(site):
        connections = [Connection(site.port, receive_buffer=8192) for _ in range(50)]
        for connection in connections:
            connection.send(request_bytes(target="/flood"))
        time.sleep(SECONDS)  # the flood's length: nobody reads, and nothing else is to happen
        closed(connections)


def test_twenty_clients_while_the_upstream_is_away_for_a_second(proxy_kind):
    """With retries on connect failures none of them sees an error."""
    port, listen = free_port(), free_port()
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "10s", "retry_policy": {
        "retry_on": "connect-failure,reset,refused-stream", "num_retries": 50,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.1s"}}}}]
    statuses, done = [], threading.Event()
    config = bootstrap(
        [listener("away", listen, routes)],
        [cluster("up", port, circuit_breakers={"thresholds": [{"max_retries": 100}]})], free_port())

    def client():
        connection = Connection(listen, timeout=10)
        while not done.is_set():
            try:
                connection.send(request_bytes())
                statuses.append(connection.read_response().status)
            except ConnectionEnded:
                statuses.append(None)
                return

    first = Upstream(address=("127.0.0.1", port))
    with Proxy(proxy_kind).start(config):
        threads = [threading.Thread(target=client) for _ in range(20)]
        for thread in threads:
            thread.start()
        first.wait_requests(200)
        first.stop()
        time.sleep(1)  # the upstream's absence, which is what is tested
        with Upstream(address=("127.0.0.1", port)) as second:
            second.wait_requests(200)
            done.set()
            for thread in threads:
                thread.join()
    assert set(statuses) == {200}, {s: statuses.count(s) for s in set(statuses)}
    assert len(statuses) >= 400


def test_a_hundred_pipelined_heads_with_bodies_in_small_pieces(site):
    """What a client cuts small costs it, not others: a hundred, again and again."""
    data = (request_bytes("POST", "/", body=b"x" * 100) * 100)
    with Others(site), Connection(site.port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for at in range(0, len(data), 7):
                connection.send(data[at:at + 7])
            assert [connection.read_response().status for _ in range(100)] == [200] * 100
