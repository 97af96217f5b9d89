"""HTTP/1 framing and malformed answers of an upstream: the tables are in `responses.py`."""

import pytest

from harness.client import Connection, request_bytes
from harness.upstream import raw, reply
from .responses import LEFTOVERS, LENGTH, POISON, RESPONSES, chunks
from .site import ask


@pytest.mark.parametrize("name", RESPONSES)
def test_response(site, name):
    """A response reaches the client whole, or visibly broken, as its row says."""
    data, then, verdict = RESPONSES[name]
    verdict.check(ask(site, data, then), None)
    with Connection(site.port, timeout=5) as connection:
        connection.send(request_bytes(target="/next"))
        following = connection.read_response()
    assert (following.status, following.body) == (200, b"ok"), "the next answer is out of step"


@pytest.mark.parametrize("name", LEFTOVERS)
def test_leftover_bytes_are_never_an_answer(site, name):
    """What an upstream sends beyond its answer reaches no other request."""
    data, method, body = LEFTOVERS[name]
    response = ask(site, data, "keep", method)
    assert response is None or response.status >= 500 or response.body == body, response
    for _ in range(3):
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(target="/next"))
            following = connection.read_response()
        assert following.body == b"ok", following


def test_an_unsolicited_answer_on_an_idle_connection_is_discarded(site):
    """An upstream that speaks first poisons nobody."""
    response = ask(site, LENGTH + b"hello", "keep")
    assert response.body == b"hello"
    for link in list(site.upstream.links):
        if not link.ended and not link.closed:
            try:
                link.socket.sendall(POISON)
            except OSError:
                pass
    for _ in range(3):
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(target="/next"))
            following = connection.read_response()
        assert following.body != b"POISON", following


def test_an_answer_to_head_has_no_body(site):
    """The length is told, the body is not there."""
    response = ask(site, LENGTH, "keep", "HEAD")
    assert response.status == 200 and response.value("content-length") == "5"


def test_a_chunked_answer_to_http_10_is_not_chunked(site):
    """An HTTP/1.0 client gets bytes until the end of the connection."""
    site.upstream.behaviour = raw(chunks(b"5\r\nhello\r\n0\r\n\r\n"))
    try:
        with Connection(site.old_port, timeout=5) as connection:
            connection.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            response = connection.read_response()
    finally:
        site.upstream.behaviour = reply(200, b"ok")
    assert response.framing in ("close", "length") and response.body == b"hello"


def test_every_response_in_pieces(site):
    """Where a response is cut changes nothing."""
    data = chunks(b"5;x=y\r\nhello\r\n0\r\nx-t: 1\r\n\r\n")
    for cut in range(1, len(data)):
        site.upstream.behaviour = lambda e, cut=cut: [e.send(data[:cut]), e.send(data[cut:])]
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes())
            assert connection.read_response().body == b"hello", cut
    site.upstream.behaviour = reply(200, b"ok")


def test_a_flood_of_informational_answers_is_bounded(site):
    """Ten thousand 103s harm nobody."""
    response = ask(site, b"HTTP/1.1 103 Early\r\n\r\n" * 10_000 + LENGTH + b"hello", "keep")
    assert response is None or response.status in (200, 502, 503)
    assert site.proxy.alive()
