"""Answers before the end of the request, Expect, and upgrades."""

import socket

import pytest

from harness.client import Connection, request_bytes
from harness.upstream import on_head, reply


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
    exchange.echo()


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
