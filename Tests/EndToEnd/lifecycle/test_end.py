"""Draining and ending."""

import os
import re
import signal
import socket
import threading
import time

import pytest

from harness.client import Connection, ConnectionEnded, fetch, request_bytes
from harness.upstream import after, reply
from harness.waiting import until

from .support import MANAGER, changed, only_fairlead


def test_sigterm_drains(proxy, upstream):
    """No new connections, `Connection: close`, the request in flight is answered, exit code 0."""
    upstream.behaviour = after(0.5, reply(200, b"in time"))
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "3"))
    busy, idle = Connection(proxy.port), Connection(proxy.port)
    busy.send(request_bytes())
    upstream.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    if proxy.kind == "envoy":
        # Envoy ends at once.
        assert proxy.wait_exit(10) in (0, -15)
        return
    response = busy.read_response()
    assert response.body == b"in time" and response.value("connection") == "close"
    assert busy.ends_within(3)
    until(lambda: _refused(proxy.port), 2, "the listener to close")
    assert idle.ends_within(5)
    assert proxy.wait_exit(10) == 0


def _refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except OSError:
        return True


def test_a_second_sigterm_ends_at_once(proxy, upstream):
    """Whoever is in a hurry asks twice."""
    upstream.behaviour = after(20, reply())
    proxy.start(proxy.document, ("--concurrency", "1", "--drain-time-s", "30"))
    busy = Connection(proxy.port)
    busy.send(request_bytes())
    upstream.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    if proxy.kind == "fairlead":
        until(lambda: _refused(proxy.port), 2, "the listener to close")
        assert proxy.alive()
        proxy.signal(signal.SIGTERM)
    proxy.wait_exit(2)


def test_an_idle_proxy_ends_soon_after_sigterm(proxy):
    """Nothing in flight: nothing to wait for."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "30"))
    assert fetch(proxy.port).status == 200
    started = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit(10) in ((0,) if proxy.kind == "fairlead" else (0, -15))
    assert time.monotonic() - started < 5


def test_quitquitquit(proxy):
    """Ends the process with exit code 0."""
    proxy.start(proxy.document)
    assert proxy.admin("/quitquitquit", "POST").body == b"OK\n"
    assert proxy.wait_exit(5) == 0


def test_drain_listeners_stops_listening(proxy, upstream):
    """POST /drain_listeners: existing connections go on, new ones are refused."""
    proxy.start(proxy.document)
    kept = Connection(proxy.port)
    kept.send(request_bytes())
    assert kept.read_response().status == 200
    assert proxy.admin("/drain_listeners", "POST").body == b"OK\n"
    until(lambda: _refused(proxy.port), 3, "the listener to close")
    assert proxy.alive()
    assert proxy.admin("/ready").status == 200


def test_drain_listeners_gracefully_says_close(proxy):
    """With ?graceful the answers carry `Connection: close` before the listeners go."""
    proxy.start(proxy.document, ("--concurrency", "1", "--drain-time-s", "2",
                                 "--drain-strategy", "immediate"))
    kept = Connection(proxy.port)
    kept.send(request_bytes())
    assert kept.read_response().status == 200
    assert proxy.admin("/drain_listeners?graceful", "POST").status == 200
    kept.send(request_bytes())
    response = kept.read_response()
    assert response.status == 200 and response.value("connection") == "close"
    until(lambda: _refused(proxy.port), 6, "the listener to close")


def test_healthcheck_fail_and_ok(proxy):
    """After fail the filter says 503 and marks its answers; ok takes it back."""
    check = {"name": "envoy.filters.http.health_check", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}]}}
    filters = [check] + proxy.document["static_resources"]["listeners"][0]["filter_chains"][0][
        "filters"][0]["typed_config"]["http_filters"]
    proxy.start(changed(proxy.document, MANAGER + ["http_filters"], filters))
    assert fetch(proxy.port, "/healthz").status == 200
    assert proxy.admin("/healthcheck/fail", "POST").body == b"OK\n"
    failed = fetch(proxy.port, "/healthz")
    assert failed.status == 503
    assert failed.value("x-envoy-immediate-health-check-fail") is not None
    assert fetch(proxy.port, "/").status == 200
    assert proxy.admin("/ready").status == 503
    assert proxy.admin("/healthcheck/ok", "POST").body == b"OK\n"
    assert fetch(proxy.port, "/healthz").status == 200
    assert proxy.admin("/ready").status == 200


def test_nothing_is_lost_while_it_drains(proxy, upstream):
    """Clients that open a connection for each request and reconnect see only whole answers until
    the listener is closed; keep-alive clients are told to go."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "2"))
    if proxy.kind == "envoy":
        pytest.skip("Envoy ends at once on SIGTERM")
    broken, served, done = [], [], threading.Event()

    def client():
        connection = None
        while not done.is_set():
            try:
                connection = connection or Connection(proxy.port, timeout=5)
            except OSError:
                return
            connection.send(request_bytes())
            try:
                response = connection.read_response()
                served.append(response.status)
                if response.value("connection") == "close":
                    return
            except ConnectionEnded as end:
                # An idle connection may be closed when the drain ends; a request in flight may not.
                broken.append(end)
                return

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(served) > 50, 5, "some traffic")
    proxy.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(10)
    done.set()
    assert not broken and set(served) == {200}
    assert proxy.wait_exit(10) == 0


def test_a_crash_report_is_not_silent(proxy):
    """SIGABRT leaves a report on standard error that names the signal."""
    only_fairlead(proxy.kind)
    proxy.start(proxy.document)
    os.kill(proxy.process.pid, signal.SIGABRT)
    assert proxy.wait_exit(10) != 0
    assert re.search(r"SIGABRT|signal 6", proxy.output()), proxy.output()
