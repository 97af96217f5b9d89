"""Clients that leave, that are slow and that are many."""

import threading
import time

import pytest

from harness.client import Connection, ConnectionEnded, request_bytes
from harness.upstream import on_head, raw, reply, stall
from harness.waiting import settled, until

from .site import ABORT_SECONDS, CHUNKED, HEADER_TIMEOUT, LENGTH, OK

pytestmark = pytest.mark.alone("how soon a client that left is missed")

# Count each time that an upstream is not read because the client does not read, and the other way
# round.
PAUSED = "cluster.up.upstream_flow_control_paused_reading_total"
BACKED_UP = "cluster.up.upstream_flow_control_backed_up_total"
HELD_BACK = "http.faults.downstream_flow_control_paused_reading_total"

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
        time.sleep(0.05)  # how slow they are: each sends a field at this pace
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
    paused = site.proxy.stat(PAUSED)
    with site.answering(large):
        connection = Connection(site.port, receive_buffer=8192)
        connection.send(request_bytes(target="/patient"))
        connection.read_head()
        settled(lambda: len(sent))
        grown = site.proxy.resident_kib() - before
        assert sum(sent) < total, "all of it was taken from upstream"
        assert site.proxy.stat(PAUSED) > paused
        connection.reset()
    assert grown < 16 * 1024, f"{grown} KiB more"


def test_an_answer_that_was_held_back_leaves_a_usable_connection(site):
    """The pooled connection behind a slow reader serves the next request."""
    # More than the kernel's buffers and the proxy's watermark take.
    total = 16 * 1024 * 1024
    pieces = b"400\r\n%s\r\n" % (b"z" * 1024) * (total // 1024)
    for _ in range(3):
        with site.answering(raw(CHUNKED, pieces + b"0\r\n\r\n", then="keep")):
            with Connection(site.port, receive_buffer=8192, timeout=20) as connection:
                paused = site.proxy.stat(PAUSED)
                connection.send(request_bytes(target="/patient"))
                site.proxy.wait_stat(PAUSED, paused + 1)
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
        assert site.proxy.stat(BACKED_UP) > 0 and site.proxy.stat(HELD_BACK) > 0
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
