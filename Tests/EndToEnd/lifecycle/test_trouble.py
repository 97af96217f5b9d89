"""A process in trouble: threads that stall, a crash, the time a drain may take."""

import signal
import threading
import time

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.threads import send_signal, stopped_at_work, thread_named
from harness.upstream import Upstream, reply, stall
from harness.waiting import until

WORKER = "wrk:worker_0"
# Written so that it holds where all tests run with two: the thread that stops must be the one that
# has the connection.
ONE_WORKER = ("--concurrency=1",)


@pytest.fixture
def proxy(proxy_kind):
    """A proxy, not started yet, with its document and an upstream."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    with Upstream() as upstream, Proxy(proxy_kind) as one:
        one.upstream, one.port = upstream, free_port()
        one.document = bootstrap(
            [listener("main", one.port)], [cluster("up", upstream.port)], free_port())
        yield one


# --- the watchdog ---


def test_a_stalled_worker_is_named(proxy):
    """Counted and logged while it lasts; afterwards the worker goes on where it was."""
    proxy.start(proxy.document | {"watchdogs": {"worker_watchdog": {
        "miss_timeout": "0.1s", "megamiss_timeout": "0.3s"}}}, extra=ONE_WORKER)
    assert fetch(proxy.port).status == 200
    with Connection(proxy.port) as connection:
        worker = thread_named(proxy.process.pid, WORKER)
        with stopped_at_work(proxy.process.pid, worker, lambda: connection.send(request_bytes())):
            proxy.wait_stat("server.worker_0.watchdog_mega_miss", 1)
        assert connection.read_response().status == 200
    assert proxy.stat("server.worker_0.watchdog_miss") == 1
    assert proxy.stat("workers.watchdog_miss") == proxy.stat("workers.watchdog_mega_miss") == 1
    assert proxy.stat("server.main_thread.watchdog_miss") == 0
    assert "worker_0 is stuck" in proxy.output()


def test_a_stalled_main_thread_is_named(proxy):
    """By somebody else: it could not say so itself. Traffic does not notice."""
    proxy.start(proxy.document | {"watchdogs": {"main_thread_watchdog": {
        "miss_timeout": "0.1s", "megamiss_timeout": "0.3s"}}})
    pid = proxy.process.pid
    with Connection(proxy.admin_port) as admin:
        with stopped_at_work(pid, pid, lambda: admin.send(request_bytes(target="/ready"))):
            until(lambda: "main thread is stuck" in proxy.output(), 5, "the report")
            assert fetch(proxy.port).status == 200
        assert admin.read_response().status == 200
    assert proxy.stat("server.main_thread.watchdog_mega_miss") == 1


def test_a_worker_that_stays_stuck_ends_the_process(proxy):
    """`kill_timeout`: the crash report names the thread, and the exit status says SIGABRT."""
    proxy.start(proxy.document | {"watchdogs": {"worker_watchdog": {
        "miss_timeout": "0.1s", "kill_timeout": "0.3s"}}}, extra=ONE_WORKER)
    with Connection(proxy.port) as connection:
        worker = thread_named(proxy.process.pid, WORKER)
        with stopped_at_work(proxy.process.pid, worker, lambda: connection.send(request_bytes())):
            until(lambda: "ending the process" in proxy.output(), 5, "the decision")
        assert proxy.wait_exit(10) == -signal.SIGABRT
    assert f"SIGABRT in thread {WORKER}" in proxy.output()


# --- a crash ---


@pytest.mark.unsanitized("takes a crash's signal first")
def test_a_crash_report_names_the_thread_and_its_stream(proxy):
    """The stream is the third; access logs know it by the same number."""
    log = proxy.directory / "access.log"
    proxy.document["static_resources"]["listeners"] = [
        listener("main", proxy.port, access_log=(log, "%STREAM_ID%\n"))]
    proxy.upstream.behaviour = lambda e: reply()(e) if e.index < 2 else e.stall()
    proxy.start(proxy.document)
    assert fetch(proxy.port).status == fetch(proxy.port).status == 200
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, 5, "two lines")
    with Connection(proxy.port) as connection:
        connection.send(request_bytes())
        proxy.upstream.wait_requests(3)
        pid = proxy.process.pid
        send_signal(pid, thread_named(pid, WORKER), signal.SIGSEGV)
        assert proxy.wait_exit(10) == -signal.SIGSEGV
    assert f"SIGSEGV in thread {WORKER}; the stream it began last: 3" in proxy.output()


# --- the end of a drain ---


@pytest.mark.alone("the time of a drain")
def test_a_drain_ends_with_its_time(proxy):
    """Whoever has not finished by then is cut off; the exit code is 0 all the same."""
    proxy.upstream.behaviour = stall()
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "1"))
    with Connection(proxy.port) as busy:
        busy.send(request_bytes())
        proxy.upstream.wait_requests(1)
        started = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait_exit(5) == 0
        assert 0.9 < time.monotonic() - started < 2
        assert busy.ends_within(1)


def test_drain_listeners_that_skips_the_exit_only_says_close(proxy):
    """`skip_exit`: answers ask clients to go, new connections are taken as before."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "0"))
    with Connection(proxy.port) as kept:
        kept.send(request_bytes())
        assert kept.read_response().value("connection") is None
        assert proxy.admin("/drain_listeners?graceful&skip_exit", "POST").status == 200
        kept.send(request_bytes())
        assert kept.read_response().value("connection") == "close"
    for _ in range(8):
        assert fetch(proxy.port).value("connection") == "close"


def test_a_restart_under_load_loses_nothing(proxy):
    """The next process listens before the last one drains: every request of clients that come and
    go is answered, and so is every one of those that stay until they are told to go."""
    proxy.start(proxy.document, ("--concurrency", "2", "--drain-time-s", "5"))
    done, answers, broken = threading.Event(), [], []

    def client(stays):
        connection = None
        while not done.is_set():
            try:
                connection = connection or Connection(proxy.port, timeout=5)
                connection.send(request_bytes())
                response = connection.read_response()
                answers.append(response.status)
                if not stays or response.value("connection") == "close":
                    connection.close()
                    connection = None
            except (AssertionError, OSError) as problem:
                broken.append(problem)
                return

    threads = [threading.Thread(target=client, args=(n % 2 == 0,)) for n in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 100, 10, "traffic")
    document = bootstrap(proxy.document["static_resources"]["listeners"],
                         proxy.document["static_resources"]["clusters"], free_port())
    with Proxy("fairlead") as following:
        following.start(document, ("--concurrency", "2"))
        proxy.signal(signal.SIGTERM)
        assert proxy.wait_exit(10) == 0
        before = len(answers)
        until(lambda: len(answers) > before + 100, 10, "traffic afterwards")
        done.set()
        for thread in threads:
            thread.join()
    assert not broken and set(answers) == {200}, broken[:3]
