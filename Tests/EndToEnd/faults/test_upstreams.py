"""Upstreams that refuse, break off, stall and talk nonsense; and what is sent again."""

import contextlib
import socket
import threading

import pytest

from harness.client import Connection, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, raw, reply, stall

from .site import CHUNKED, CONNECT_TIMEOUT, LATENESS, LENGTH, OK, ROUTE_TIMEOUT, UNTIL_CLOSE, route

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
        [listener("away", listen := free_port(), [route("/", "up", retry_policy={
            "retry_on": "connect-failure", "num_retries": 100,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.2s"}})])],
        [cluster("up", port, circuit_breakers={"thresholds": [{"max_retries": 100}]})],
        free_port())
    with Proxy(site.proxy.kind).start(config) as proxy:
        statuses = []

        def client():
            with Connection(listen) as connection:
                connection.send(request_bytes())
                statuses.append(connection.read_response().status)

        threads = [threading.Thread(target=client) for _ in range(10)]
        for thread in threads:
            thread.start()
        # Each has found nobody there.
        proxy.wait_stat("cluster.up.upstream_cx_connect_fail", len(threads))
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
