"""HTTP/1 framing and malformed requests: the tables are in `requests.py`."""

import fcntl
import struct
import termios
import time

import pytest

from harness.client import Connection, ConnectionEnded, request_bytes
from .requests import (
    INCOMPLETE, OLD_REQUESTS, REQUESTS, SMUGGLED, Refused, head, with_chunks, with_length)
from .site import Outcome, exchange


@pytest.mark.parametrize("name", REQUESTS)
def test_request(site, name):
    """A request is refused or forwarded as its row says."""
    data, verdict = REQUESTS[name]
    verdict.check(exchange(site, data))


@pytest.mark.parametrize("name", ["a content-length", "one chunk", "trailers", "an absolute target",
                                  "a chunk extension with a value",
                                  "junk between a chunk and its CRLF",
                                  "a bare LF in a value", "two content-lengths that differ"])
def test_request_in_every_split(site, name):
    """Where a request is cut changes nothing."""
    data, verdict = REQUESTS[name]
    for cut in range(1, len(data)):
        verdict.check(_sent_in_pieces(site, [data[:cut], data[cut:]]))


@pytest.mark.parametrize("name", ["a content-length", "several chunks", "trailers", "no Host",
                                  "a negative chunk size"])
def test_request_byte_by_byte(site, name):
    """A request may arrive one byte at a time."""
    data, verdict = REQUESTS[name]
    verdict.check(_sent_in_pieces(site, [data[n:n + 1] for n in range(len(data))]))


def _sent_in_pieces(site, pieces):
    before = len(site.upstream.requests)
    with Connection(site.port, timeout=10) as connection:
        for piece in pieces:
            # A segment of its own: the proxy has taken what was before when the kernel says so.
            _drained(connection)
            connection.send(piece)
        try:
            responses = [connection.read_response()]
        except ConnectionEnded:
            responses = []
        closed = not responses or responses[0].status >= 300
        return Outcome(responses, closed, site.forwarded(connection, before))


def _drained(connection):
    """Waits until the peer's kernel has acknowledged all; reading follows at once on loopback."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        unsent = struct.unpack("i", fcntl.ioctl(connection.socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        if unsent == 0:
            return


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_request(site, name):
    """A client that half-closes too early is never taken for complete."""
    outcome = exchange(site, INCOMPLETE[name], half_close=True)
    assert all(r.status in (400, 408) for r in outcome.responses), outcome
    assert not [r for r in outcome.forwarded if r.complete], outcome

def _converse(site, data, methods):
    """Sends everything at once and reads an answer for each method; returns (statuses, targets)."""
    before = len(site.upstream.requests)
    statuses = []
    with Connection(site.port, timeout=5) as connection:
        connection.send(data)
        for method in methods:
            try:
                statuses.append(connection.read_response(method).status)
            except ConnectionEnded:
                statuses.append(None)
                break
        return statuses, [r.target for r in site.forwarded(connection, before) if r.complete]


def test_pipelined_requests_are_answered_in_order(site):
    """Fifty requests in one segment."""
    data = b"".join(request_bytes(target=f"/{n}") for n in range(50))
    statuses, targets = _converse(site, data, ["GET"] * 50)
    assert statuses == [200] * 50 and targets == [f"/{n}" for n in range(50)]


def test_pipelined_bodies_end_where_they_end(site):
    """Bodies of both framings between requests."""
    data = (with_length(b"5") + request_bytes(target="/1") + with_chunks(b"5\r\nhello\r\n0\r\n\r\n")
            + request_bytes("HEAD", "/2") + request_bytes(target="/3"))
    statuses, targets = _converse(site, data, ["POST", "GET", "POST", "HEAD", "GET"])
    assert statuses == [200] * 5 and targets == ["/", "/1", "/", "/2", "/3"]


def test_a_good_request_before_a_bad_one_is_answered(site):
    """The first is served, the second refused, the third never seen."""
    data = request_bytes(target="/good") + b"BAD LINE\r\n\r\n" + SMUGGLED
    statuses, targets = _converse(site, data, ["GET", "GET", "GET"])
    assert statuses[0] == 200 and statuses[1] in (400, None) and targets == ["/good"]


def test_bytes_behind_a_body_are_not_a_request(site):
    """What follows a body is parsed from its start."""
    statuses, targets = _converse(site, with_length(b"5", b"helloXX") + SMUGGLED, ["POST", "GET"])
    assert statuses[0] == 200 and statuses[1] in (400, None)
    assert "/smuggled" not in targets


def test_nothing_is_taken_after_connection_close(site):
    """A request behind one that says close is not served."""
    data = request_bytes(target="/last", headers={"connection": "close"}) + SMUGGLED
    statuses, targets = _converse(site, data, ["GET", "GET"])
    assert statuses == [200, None] and targets == ["/last"]


def test_nothing_is_taken_after_a_refused_request(site):
    """A request behind a malformed one is not served."""
    data = head(b"Content-Length: x") + SMUGGLED
    statuses, targets = _converse(site, data, ["POST", "GET"])
    assert statuses[0] in (400, None) and not targets


@pytest.mark.parametrize("name", OLD_REQUESTS)
def test_request_of_http_10(site, name):
    """HTTP/1.0 where it is accepted."""
    data, verdict = OLD_REQUESTS[name]
    verdict.check(exchange(site, data, port=site.old_port))


def test_http_10_is_refused_by_default(site):
    """As Envoy: 426."""
    Refused((426,)).check(exchange(site, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"))
