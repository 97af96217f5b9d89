"""Upstreams and clients that fail in every way: answered truthfully, in time, and nothing is left.

The figures are those the project promises: a refused upstream is answered within 50 ms, timeouts
come within 0.5 s of their value, a client's going away reaches the upstream within 0.1 s.
"""

import contextlib
import socket
import threading
import time

import pytest

from harness.client import Connection, ConnectionEnded, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import BlackHole, Upstream, on_head, raw, refusing_port, reply, stall
from harness.waiting import until

ROUTE_TIMEOUT = 0.5
CONNECT_TIMEOUT = 0.4
HEADER_TIMEOUT = 1
# How much later than its value a timeout may come.
LATENESS = 0.5
# How soon an upstream has to learn that the client went away.
ABORT_SECONDS = 0.1

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 1000\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = OK + b"\r\n"


def _route(path, name, **action):
    return {"match": {"prefix": path}, "route": {"cluster": name, **action}}


class Site:
    """A proxy before an upstream that is well, one that refuses and one that is a black hole."""

    def __init__(self, kind):
        self.upstream = Upstream()
        self.hole = BlackHole()
        self.refuser, refused = refusing_port()
        self.port = free_port()
        websocket = [{"upgrade_type": "websocket"}]
        routes = [
            _route("/refused", "refused", timeout="5s"), _route("/hole", "hole", timeout="5s"),
            _route("/retry", "up", timeout="5s", retry_policy={
                "retry_on": "5xx,reset,connect-failure", "num_retries": 3}),
            _route("/patient", "up", timeout="0s"),
            _route("/", "up", timeout=f"{ROUTE_TIMEOUT}s"),
        ]
        self.proxy = Proxy(kind).start(bootstrap(
            [listener("faults", self.port, routes, upgrade_configs=websocket,
                      request_headers_timeout=f"{HEADER_TIMEOUT}s", delayed_close_timeout="0.1s")],
            [cluster("up", self.upstream.port),
             cluster("refused", refused),
             cluster("hole", self.hole.port, connect_timeout=f"{CONNECT_TIMEOUT}s")],
            free_port()))

    @contextlib.contextmanager
    def answering(self, behaviour):
        """The upstream behaves in another way for a while."""
        before = self.upstream.behaviour
        self.upstream.behaviour = behaviour
        try:
            yield self.upstream
        finally:
            self.upstream.behaviour = before

    def ask(self, target="/", method="GET", body=None, timeout=8):
        """One request; returns (response or None when it was cut off, seconds)."""
        started = time.monotonic()
        with Connection(self.port, timeout=timeout) as connection:
            connection.send(request_bytes(method, target, body=body))
            try:
                response = connection.read_response(method)
            except ConnectionEnded:
                response = None
        return response, time.monotonic() - started

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.upstream.stop()
        self.hole.stop()
        self.refuser.close()


@pytest.fixture(scope="module")
def site(proxy_kind):
    """One proxy for all faults; at the end it is alive and has no descriptor more than before."""
    one = Site(proxy_kind)
    # The first request brings up what a proxy opens once.
    assert one.ask()[0].status == 200
    yield one
    alive = one.proxy.alive()
    one.stop()
    assert alive, f"the proxy died:\n{one.proxy.output()[-3000:]}"


@pytest.fixture(autouse=True)
def healthy_afterwards(site):
    """Whatever happened, the next request is served."""
    yield
    assert site.ask("/patient")[0].status == 200


# --- upstreams ---

# Name: (target, what the upstream does, the statuses a client may see; None is a response cut off).
CUT = (None,)
GATEWAY = (502, 503)
FAULTS = {
    "connect refused": ("/refused", None, (503,)),
    "FIN before the head": ("/", raw(then="fin"), GATEWAY),
    "RST before the head": ("/", raw(then="rst"), GATEWAY),
    "FIN within the status line": ("/", raw(b"HTTP/1.1 2", then="fin"), GATEWAY),
    "RST within the status line": ("/", raw(b"HTTP/1.1 2", then="rst"), GATEWAY),
    "FIN within the head": ("/", raw(OK + b"x: y", then="fin"), GATEWAY),
    "RST within the head": ("/", raw(OK + b"x: y", then="rst"), GATEWAY),
    "FIN after the head of a length": ("/", raw(LENGTH, then="fin"), CUT + GATEWAY),
    "RST after the head of a length": ("/", raw(LENGTH, then="rst"), CUT + GATEWAY),
    "FIN within a length": ("/", raw(LENGTH, b"x" * 100, then="fin"), CUT + GATEWAY),
    "RST within a length": ("/", raw(LENGTH, b"x" * 100, then="rst"), CUT + GATEWAY),
    "FIN after a whole length": ("/", raw(LENGTH, b"x" * 1000, then="fin"), (200,)),
    "FIN after the head of chunks": ("/", raw(CHUNKED, then="fin"), CUT + GATEWAY),
    "RST after the head of chunks": ("/", raw(CHUNKED, then="rst"), CUT + GATEWAY),
    "FIN within a chunk": ("/", raw(CHUNKED, b"a\r\n123", then="fin"), CUT + GATEWAY),
    "RST within a chunk": ("/", raw(CHUNKED, b"a\r\n123", then="rst"), CUT + GATEWAY),
    "FIN between chunks": ("/", raw(CHUNKED, b"3\r\n123\r\n", then="fin"), CUT + GATEWAY),
    "FIN after the last chunk": ("/", raw(CHUNKED, b"3\r\n123\r\n0\r\n\r\n", then="fin"), (200,)),
    "FIN within a body until the end": ("/", raw(UNTIL_CLOSE, b"abc", then="fin"), (200,)),
    "RST within a body until the end": ("/", raw(UNTIL_CLOSE, b"abc", then="rst"), CUT + GATEWAY),
    "garbage": ("/", raw(b"\x16\x03\x01 what is this\r\n\r\n"), GATEWAY),
    "garbage within chunks": ("/", raw(CHUNKED, b"zz\r\n"), CUT + GATEWAY),
    "an oversized head": ("/", raw(OK + b"x: " + b"a" * 400_000 + b"\r\n\r\n"), GATEWAY),
    "an endless head": ("/", lambda e: _endless(e, OK, b"x: " + b"a" * 1000 + b"\r\n"), GATEWAY),
    "an endless status line": ("/", lambda e: _endless(e, b"HTTP/1.1 200 ", b"a" * 4096), GATEWAY),
}


def _endless(exchange, start, piece):
    exchange.send(start)
    for _ in range(20_000):
        if exchange.ended:
            return
        exchange.send(piece)


@pytest.mark.parametrize("name", FAULTS)
def test_upstream_fault(site, name):
    """A failing upstream is told truthfully and at once; a body cut short never looks complete."""
    target, behaviour, statuses = FAULTS[name]
    with site.answering(behaviour or reply()):
        response, seconds = site.ask(target)
    assert (response.status if response else None) in statuses, response
    assert seconds < ROUTE_TIMEOUT, f"took {seconds:.3f} s"


def test_refused_upstream_is_answered_within_50_ms(site):
    """The median of ten."""
    times = sorted(site.ask("/refused")[1] for _ in range(10))
    assert times[5] < 0.05, times


# Name: (target, what the upstream does, statuses, the timeout that ends it).
STALLS = {
    "connect blackholed": ("/hole", None, (503,), CONNECT_TIMEOUT),
    "stall before the head": ("/", stall(), (504,), ROUTE_TIMEOUT),
    "stall within the head": ("/", raw(OK + b"x: ", then="stall"), (504,), ROUTE_TIMEOUT),
    "stall after the head": ("/", raw(LENGTH, then="stall"), CUT + (504,), ROUTE_TIMEOUT),
    "stall within a length": ("/", raw(LENGTH, b"x", then="stall"), CUT, ROUTE_TIMEOUT),
    "stall within a chunk": ("/", raw(CHUNKED, b"a\r\n1", then="stall"), CUT, ROUTE_TIMEOUT),
    "stall within a body until the end": (
        "/", raw(UNTIL_CLOSE, b"x", then="stall"), CUT, ROUTE_TIMEOUT),
    "an endless answer": ("/", lambda e: _endless(e, CHUNKED, b"5\r\nhello\r\n" + b"") or e.stall(),
                          CUT, ROUTE_TIMEOUT),
    "endless informational answers": (
        "/", lambda e: [e.send(b"HTTP/1.1 103 E\r\n\r\n" * 50), e.stall()], (502, 503, 504),
        ROUTE_TIMEOUT),
}


@pytest.mark.parametrize("name", STALLS)
def test_upstream_stall(site, name):
    """A stalling upstream is given up when its timeout says so, and its connection is closed."""
    target, behaviour, statuses, limit = STALLS[name]
    with site.answering(behaviour or reply()) as upstream:
        index = len(upstream.requests)
        response, seconds = site.ask(target)
        if behaviour:
            upstream.wait_requests(index + 1)
            upstream.wait_ended(upstream.requests[index].connection)
    assert (response.status if response else None) in statuses, response
    assert seconds < limit + LATENESS, f"took {seconds:.3f} s"


def test_an_upstream_that_is_away_for_a_while(site):
    """Requests with retries on connect failures succeed as soon as somebody listens."""
    port = free_port()
    config = bootstrap(
        [listener("away", listen := free_port(), [_route("/", "up", retry_policy={
            "retry_on": "connect-failure", "num_retries": 10,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.2s"}})])],
        [cluster("up", port, circuit_breakers={"thresholds": [{"max_retries": 100}]})],
        free_port())
    with Proxy(site.proxy.kind).start(config):
        statuses = []

        def client():
            with Connection(listen) as connection:
                connection.send(request_bytes())
                statuses.append(connection.read_response().status)

        threads = [threading.Thread(target=client) for _ in range(10)]
        for thread in threads:
            thread.start()
        time.sleep(0.15)
        with Upstream(address=("127.0.0.1", port)):
            for thread in threads:
                thread.join()
    assert statuses == [200] * 10, statuses


# --- what is repeated and what never is ---


def test_a_pooled_connection_that_was_just_closed_harms_no_get(site):
    """The upstream closes after each answer without saying so; every GET is answered."""

    def closes_silently(exchange):
        reply()(exchange)
        exchange.fin()

    with site.answering(closes_silently):
        statuses = [r.status if (r := site.ask("/patient")[0]) else None for _ in range(60)]
    assert statuses.count(200) == 60, statuses


def test_a_request_on_a_connection_just_closed_is_repeated(site):
    """The connection ends without a byte when its second request arrives: sent again, once."""
    seen = []

    def second_dies(exchange):
        seen.append((exchange.link.index, exchange.request.method, exchange.request.target))
        if sum(1 for index, *_ in seen if index == exchange.link.index) == 2:
            exchange.fin()
        else:
            reply()(exchange)

    for link in site.upstream.links:
        # Nothing pooled: the test starts with a connection of its own.
        if not link.ended and not link.closed:
            link.closed = True
            with contextlib.suppress(OSError):
                link.socket.shutdown(socket.SHUT_RDWR)
    with site.answering(second_dies):
        first, _ = site.ask("/patient/1")
        second, _ = site.ask("/patient/2")
    assert first.status == 200
    # Envoy answers 503 here; a repetition has to be a single one.
    assert second is not None and second.status in (200, 503)
    assert len([t for _, _, t in seen if t == "/patient/2"]) <= 2, seen


def test_a_post_is_never_sent_twice(site):
    """A connection that dies under a POST is an error for the client, not a second POST."""
    bodies = []

    def takes_and_dies(exchange):
        if exchange.request.method == "POST":
            bodies.append(exchange.request.body)
            exchange.fin()
        else:
            reply()(exchange)

    with site.answering(takes_and_dies):
        for index in range(10):
            # A pooled connection is there to be used.
            assert site.ask("/patient")[0].status == 200
            response, _ = site.ask("/patient", "POST", b"once %d" % index)
            assert response is None or response.status in (502, 503)
    assert len(bodies) == len(set(bodies)) == 10, bodies


def test_a_post_is_sent_again_when_the_route_allows_it(site):
    """retry_on covers it: the same body arrives whole at the second try."""
    behaviour = sequence_from_now(site, raw(then="rst"), reply(200, b"second"))
    with site.answering(behaviour) as upstream:
        before = len(upstream.requests)
        response, _ = site.ask("/retry", "POST", b"again" * 1000)
        bodies = [r.body for r in upstream.requests[before:]]
    assert response.body == b"second" and bodies == [b"again" * 1000] * 2


def sequence_from_now(site, *behaviours):
    """As `sequence`, counted from the next request."""
    start = len(site.upstream.requests)

    def behaviour(exchange):
        behaviours[min(exchange.index - start, len(behaviours) - 1)](exchange)

    return behaviour


# --- clients that go away ---


def _abort_reaches_upstream(site, connection, how="close"):
    upstream = site.upstream
    link = upstream.links[upstream.requests[-1].connection]
    left = time.monotonic()
    connection.reset() if how == "reset" else connection.close()
    upstream.wait_for(lambda: link.ended, 3, "the upstream to learn of it")
    assert link.ended_at - left < ABORT_SECONDS, f"{link.ended_at - left:.3f} s"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", ["waiting", "within the request", "within the answer"])
def test_a_client_that_leaves_is_told_upstream(site, phase, how):
    """Within 0.1 s, whatever the phase."""
    behaviours = {"waiting": stall(), "within the request": on_head(stall()),
                  "within the answer": raw(LENGTH, b"x" * 10, then="stall")}
    with site.answering(behaviours[phase]) as upstream:
        count = len(upstream.requests)
        connection = Connection(site.port)
        if phase == "within the request":
            connection.send(request_bytes("POST", "/patient", {"content-length": "1000"}) + b"half")
        else:
            connection.send(request_bytes(target="/patient"))
        upstream.wait_requests(count + 1)
        if phase == "within the answer":
            assert connection.read_head().status == 200
            connection.read_bytes(10)
        _abort_reaches_upstream(site, connection, how)


def test_a_client_that_half_closes_gets_its_answer(site):
    """FIN behind a complete request is no abort."""
    with Connection(site.port) as connection:
        connection.send(request_bytes(target="/patient"))
        connection.half_close()
        try:
            status = connection.read_response().status
        except ConnectionEnded:
            status = None
    # Envoy takes it for an abort.
    assert status == 200 or site.proxy.kind == "envoy"


def test_pipelined_requests_before_a_half_close_are_all_answered(site):
    """FIN behind several requests is no abort of any of them."""
    with Connection(site.port) as connection:
        connection.send(b"".join(request_bytes(target=f"/patient/{n}") for n in range(20)))
        connection.half_close()
        statuses = []
        try:
            while len(statuses) < 20:
                statuses.append(connection.read_response().status)
        except ConnectionEnded:
            pass
    # Envoy takes it for an abort.
    assert statuses == [200] * 20 or site.proxy.kind == "envoy", statuses


def test_an_upload_before_a_half_close_arrives_whole(site):
    """What waits in the socket before FIN is part of the request."""
    body = b"x" * (4 * 1024 * 1024)
    with Connection(site.port) as connection:
        connection.send(request_bytes("POST", "/patient", body=body))
        connection.half_close()
        try:
            status = connection.read_response().status
        except ConnectionEnded:
            status = None
    assert status == 200 and site.upstream.requests[-1].body == body \
        or site.proxy.kind == "envoy"


# --- slow clients ---


def test_slowloris(site):
    """Three hundred connections that never finish a head end with the header timeout; others are
    served all the while."""
    slow = [Connection(site.port, timeout=10) for _ in range(300)]
    for connection in slow:
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    started = time.monotonic()
    longest = 0.0
    while still := [connection for connection in slow if connection.is_open()]:
        for connection in still:
            if not connection.buffer:
                connection.send(b"x: y\r\n")
        response, seconds = site.ask("/patient")
        assert response.status == 200
        longest = max(longest, seconds)
        assert time.monotonic() - started < HEADER_TIMEOUT + 1, "they outlive the timeout"
        time.sleep(0.05)
    for connection in slow:
        connection.close()
    assert longest < 0.3, f"another client waited {longest:.3f} s"


def test_a_slow_reader_of_a_large_answer_is_bounded(site):
    """64 MiB for a client that does not read: the proxy stops taking from upstream."""
    total = 64 * 1024 * 1024
    sent = []

    def large(exchange):
        exchange.send(OK + b"Content-Length: %d\r\n\r\n" % total)
        piece = b"x" * 65536
        for _ in range(total // len(piece)):
            if exchange.ended:
                return
            exchange.send(piece)
            sent.append(len(piece))

    before = site.proxy.resident_kib()
    with site.answering(large):
        connection = Connection(site.port, receive_buffer=8192)
        connection.send(request_bytes(target="/patient"))
        connection.read_head()
        last = -1
        # Until nothing more is taken from upstream.
        while len(sent) != last:
            last = len(sent)
            time.sleep(0.3)
        grown = site.proxy.resident_kib() - before
        assert sum(sent) < total, "all of it was taken from upstream"
        connection.reset()
    assert grown < 16 * 1024, f"{grown} KiB more"


def test_an_answer_that_was_held_back_leaves_a_usable_connection(site):
    """The pooled connection behind a slow reader serves the next request."""
    total = 4 * 1024 * 1024
    pieces = b"400\r\n%s\r\n" % (b"z" * 1024) * (total // 1024)
    for _ in range(3):
        with site.answering(raw(CHUNKED, pieces + b"0\r\n\r\n", then="keep")):
            with Connection(site.port, receive_buffer=8192, timeout=20) as connection:
                connection.send(request_bytes(target="/patient"))
                time.sleep(0.3)
                assert len(connection.read_response().body) == total
        assert site.ask("/patient")[0].status == 200


def test_very_many_pipelined_requests_are_answered(site):
    """More than any buffer holds, and no turn of another connection is lost."""
    count = 5000
    data = request_bytes(target="/patient") * count
    with Connection(site.port, timeout=20) as connection:
        sender = threading.Thread(target=connection.send, args=(data,))
        sender.start()
        statuses = [connection.read_response().status for _ in range(count)]
        sender.join()
    assert statuses == [200] * count


def test_a_slow_upstream_holds_back_a_large_request(site):
    """64 MiB for an upstream that does not read: the proxy stops taking from the client."""
    before = site.proxy.resident_kib()
    with site.answering(on_head(lambda exchange: exchange.upstream.stopping.wait(3))) as upstream:
        count = len(upstream.requests)
        connection = Connection(site.port, timeout=0.5)
        connection.send(request_bytes(
            "POST", "/patient", {"content-length": str(64 * 1024 * 1024)}))
        upstream.wait_requests(count + 1)
        taken = 0
        try:
            while taken < 64 * 1024 * 1024:
                taken += connection.socket.send(b"x" * 65536)
        except TimeoutError:
            pass
        grown = site.proxy.resident_kib() - before
        connection.reset()
    assert taken < 64 * 1024 * 1024, "all of it was taken from the client"
    assert grown < 16 * 1024, f"{grown} KiB more"


def test_a_large_answer_passes_whole_and_memory_comes_back(site):
    """64 MiB to a client that reads."""
    total = 64 * 1024 * 1024
    before = site.proxy.resident_kib()
    with site.answering(lambda e: [e.send(OK + b"Content-Length: %d\r\n\r\n" % total),
                                   *[e.send(b"x" * 1048576) for _ in range(64)]]):
        response, _ = site.ask("/patient", timeout=30)
    assert len(response.body) == total
    assert site.proxy.resident_kib() - before < 16 * 1024


# --- early answers, Expect, upgrades ---


def test_an_early_answer_reaches_the_client_before_its_body_ends(site):
    """The upstream refuses a body it has not read; the client sees why."""
    with site.answering(on_head(lambda e: [reply(413, b"too large")(e), e.stall()])):
        with Connection(site.port) as connection:
            connection.send(request_bytes("POST", "/patient", {"content-length": "1000"}) + b"part")
            response = connection.read_response()
    assert (response.status, response.body) == (413, b"too large")


def test_expect_100_continue_before_the_body(site):
    """The client holds its body back until it is told to go on."""
    with Connection(site.port) as connection:
        connection.send(request_bytes(
            "POST", "/patient", {"content-length": "4", "expect": "100-continue"}))
        assert connection.read_head().status == 100
        connection.send(b"body")
        assert connection.read_response().status == 200
    assert site.upstream.requests[-1].body == b"body"


def _echo(exchange):
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\nhello")
    exchange.ended = True
    while True:
        if exchange.link.buffer:
            data, exchange.link.buffer = exchange.link.buffer, b""
            exchange.send(data)
        exchange.link.fill()


UPGRADE = request_bytes(
    target="/patient", headers={"connection": "Upgrade", "upgrade": "websocket"})


def test_bytes_in_flight_around_an_upgrade_are_kept(site):
    """What the client sent early and what the upstream sent with its 101 both arrive."""
    with site.answering(on_head(_echo)):
        with Connection(site.port) as connection:
            connection.send(UPGRADE + b"early")
            assert connection.read_response().status == 101
            assert connection.read_bytes(10) == b"helloearly"
            connection.send(b"x" * 100_000)
            assert connection.read_bytes(100_000) == b"x" * 100_000


def test_bytes_before_a_declined_upgrade_are_not_a_request(site):
    """What followed an upgrade that was declined is never taken for a request of its own."""
    with site.answering(reply(200, b"declined")) as upstream:
        before = len(upstream.requests)
        with Connection(site.port) as connection:
            connection.send(UPGRADE + request_bytes(target="/patient/smuggled"))
            response = connection.read_response()
            connection.half_close()
            try:
                connection.read_to_end(2)
            except TimeoutError:
                pass
        targets = [r.target for r in upstream.requests[before:]]
    assert response.status == 200
    # A pipelined request behind an ordinary answer is legal; it may be served, once, as itself.
    assert targets in (["/patient"], ["/patient", "/patient/smuggled"]), targets


def test_an_upgrade_with_a_chunked_body_smuggles_nothing(site):
    """The body stays a body, whatever becomes of the upgrade."""
    hidden = request_bytes(target="/patient/smuggled")
    with Connection(site.port) as connection:
        before = len(site.upstream.requests)
        connection.send(request_bytes("POST", "/patient", {
            "connection": "Upgrade", "upgrade": "websocket", "transfer-encoding": "chunked"})
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden))
        response = connection.read_response()
    requests = site.upstream.requests[before:]
    if response.status == 200:
        assert [(r.target, r.body) for r in requests] == [("/patient", hidden)], requests
    else:
        assert 400 <= response.status < 500 and not requests, response


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_the_end_of_one_side_ends_an_upgraded_connection(site, side):
    """Neither side is left hanging."""
    with site.answering(on_head(_echo)) as upstream:
        connection = Connection(site.port, timeout=5)
        connection.send(UPGRADE)
        assert connection.read_response().status == 101
        assert connection.read_bytes(5) == b"hello"
        link = upstream.links[upstream.requests[-1].connection]
        if side == "client":
            connection.close()
            upstream.wait_for(lambda: link.ended, 3, "the upstream's end")
        else:
            link.closed = True
            link.socket.shutdown(socket.SHUT_RDWR)
            assert connection.ends_within(3)
            connection.close()


# --- nothing is left ---


def test_descriptors_come_back(site):
    """A thousand connections of every fate leave no descriptor behind."""

    def descriptors():
        """Of the proxy, without its pooled upstream connections."""
        pooled = sum(1 for link in site.upstream.links if not link.ended and not link.closed)
        return site.proxy.descriptors() - pooled

    site.ask("/patient")
    before = descriptors()
    with site.answering(lambda e: [None, e.fin, e.rst][e.index % 3]() if e.index % 3
                        else reply()(e)):
        for round_ in range(10):
            clients = [Connection(site.port) for _ in range(100)]
            for index, client in enumerate(clients):
                if index % 4:
                    client.send(request_bytes(target="/patient"))
            for index, client in enumerate(clients):
                if index % 2 and index % 4:
                    try:
                        client.read_response()
                    except ConnectionEnded:
                        pass
                client.reset() if index % 3 == round_ % 3 else client.close()
    until(lambda: descriptors() <= before + 2, 5,
          f"descriptors to fall back to {before}, now {descriptors()}")


def test_a_thousand_idle_connections_cost_little(site):
    """Under 3 KiB each, counted after one request on each."""
    before = site.proxy.resident_kib()
    clients = [Connection(site.port) for _ in range(1000)]
    try:
        for client in clients:
            client.send(request_bytes(target="/patient"))
            assert client.read_response().status == 200
        grown = site.proxy.resident_kib() - before
    finally:
        for client in clients:
            client.close()
    print(f"\n1,000 idle connections: {grown} KiB")
    assert grown < 3 * 1024 or site.proxy.kind == "envoy", f"{grown} KiB for 1,000 connections"
