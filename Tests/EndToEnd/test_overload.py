"""What is done against too much: bounds for connections, and the overload manager's actions. Compared
with the real Envoy where both can be brought to the same state.
"""

import contextlib
import re

import pytest

from harness.client import Connection, request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import listener
from harness.waiting import until
from test_tcp import connect, filter_of
from test_tcp import listener as tcp_listener

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LINE = "%RESPONSE_FLAGS% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %REQ(:PATH)%\n"
HEAP = "envoy.resource_monitors.fixed_heap"
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
ANSWER = [{"match": {"prefix": "/"}, "direct_response": {
    "status": 200, "body": {"inline_string": "ok"}}}]


def monitor(name, kind, **config):
    """A resource monitor."""
    return {"name": name, "typed_config": {
        "@type": f"type.googleapis.com/envoy.extensions.resource_monitors.{kind}", **config}}


def heap(most=1_000_000):
    """A bound for memory; the default is one that every process exceeds."""
    return monitor(HEAP, "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=most)


def action(name, **trigger):
    """An action of memory; without a trigger from half of the bound on."""
    trigger = trigger or {"threshold": {"value": 0.5}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": HEAP, **trigger}]}


def overload(*actions, monitors=None):
    """An `overload_manager`."""
    return {"overload_manager": {
        "refresh_interval": "0.1s", "resource_monitors": monitors or [heap()],
        "actions": list(actions)}}


def runtime(**values):
    """A static runtime layer; dots in keys are written as double underscores."""
    layer = {key.replace("__", "."): value for key, value in values.items()}
    return {"layered_runtime": {"layers": [{"name": "static", "static_layer": layer}]}}


def bound(most):
    """The bound for all connections."""
    return {"overload_manager": {"resource_monitors": [monitor(
        CONNECTIONS, "downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=most)]}}


LIMITED = {"envoy__resource_limits__listener__main__connection_limit": 2}
BOUNDS = {
    "of the process": (bound(2), {}),
    "of the listener": (runtime(**LIMITED), {}),
    "of both": ({**bound(3), **runtime(**LIMITED)}, {}),
    "of the process, and the listener is exempt": (bound(2), {"ignore_global_conn_limit": True}),
}
COUNTED = re.compile(r"listener\.127[0-9._]+downstream_(global_)?cx_(overflow|total|active|overload)")


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_for_connections(proxy_kind, name):
    """Five connections at once, and one after some have gone."""
    told = {}
    for kind in {"envoy", proxy_kind}:
        port = free_port()
        extra, options = BOUNDS[name]
        config = {**listener("main", port, ANSWER), **options}
        with Proxy(kind) as proxy, contextlib.ExitStack() as held:
            proxy.start(bootstrap([config], [], free_port(), **extra))
            outcomes = []

            def ask(outcomes=outcomes, held=held, port=port):
                client = held.enter_context(connect(port))
                try:
                    client.sendall(request_bytes())
                    outcomes.append(client.recv(100)[9:12])
                except OSError:
                    outcomes.append(b"")

            for _ in range(5):
                ask()
            # A refused client may know it before it is counted.
            until(lambda: sum(value for key, value in proxy.stats().items()
                              if COUNTED.match(key) and not key.endswith("_active")) == 5,
                  what="all to be counted")
            stats = sorted((key.replace(str(port), "PORT"), value)
                           for key, value in proxy.stats().items() if COUNTED.match(key))
            held.close()
            scope = f"listener.127.0.0.1_{port}.downstream_cx_"
            until(lambda: proxy.stat(scope + "active") == 0, what="the connections to end")
            ask()
            told[kind] = outcomes, [pair for pair in stats if pair[1]]
    assert told[proxy_kind] == told["envoy"]


def test_the_older_key_bounds_the_process(proxy_kind):
    """`overload.global_downstream_max_connections`, and listeners share the bound."""
    ports = free_port(), free_port()
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [tcp_listener(port, filter_of("echo", "Echo")) for port in ports], [], free_port(),
            **runtime(overload__global_downstream_max_connections=1)), wait=proxy_kind != "envoy")
        with connect(ports[0]) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"x"
            with connect(ports[1]) as second:
                assert second.recv(1) == b""
            assert proxy.stat(f"listener.127.0.0.1_{ports[1]}.downstream_global_cx_overflow") == 1

        def enters():
            with connect(ports[1]) as client, contextlib.suppress(OSError):
                client.sendall(b"x")
                return client.recv(1) == b"x"
            return False

        until(enters, what="the place to be free")


def test_connections_that_say_nothing_count(proxy_kind):
    """A connection that a listener filter still looks at has its place, and gives it back."""
    port = free_port()
    inspector = {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3"
                 ".TlsInspector"}}
    config = tcp_listener(port, filter_of("echo", "Echo"), listener_filters=[inspector])
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([config], [], free_port(), **bound(1)))
        scope = f"listener.127.0.0.1_{port}."
        with connect(port):
            proxy.wait_stat(scope + "downstream_pre_cx_active", 1)
            with connect(port) as second:
                assert second.recv(1) == b""
        until(lambda: proxy.stat(scope + "downstream_pre_cx_active") == 0)
        with connect(port) as third:
            third.sendall(b"xxxxxx")
            assert third.recv(6)


ACTIONS = {
    "stop_accepting_requests": {},
    "disable_http_keepalive": {},
    "stop_accepting_requests, by a scaled trigger": {
        "scaled": {"scaling_threshold": 0.1, "saturation_threshold": 0.2}},
}
STATS = re.compile(r"^(overload\.envoy\.overload_actions|http\.main\.downstream_(rq_(5|2)xx"
                   r"|rq_overload|cx_overload|cx_drain|rq_total))")


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_on_requests(proxy_kind, tmp_path, name):
    """Answer, access log and statistics of two requests while memory is short."""
    told = {}
    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), tmp_path / f"{kind}.log"
        config = listener("main", port, ANSWER, access_log=(log, LINE))
        with Proxy(kind) as proxy:
            proxy.start(bootstrap([config], [], free_port(), **overload(
                action(name.partition(",")[0], **ACTIONS[name]))))
            until(lambda: any(key.startswith("overload.") and key.endswith(".active") and value
                              for key, value in proxy.stats().items()), what="the action")
            answers = []
            for _ in range(2):
                with Connection(port) as client:
                    client.send(request_bytes(target="/path?query"))
                    answer = client.read_response()
                    answers.append((answer.status, answer.body, answer.value("connection"),
                                    answer.value("content-type")))
            until(lambda: log.exists() and log.read_text().count("\n") == 2, what="the log")
            told[kind] = (answers, log.read_text(), sorted(
                item for item in proxy.stats().items() if STATS.match(item[0]) and item[1]))
    for ours, theirs in zip(told[proxy_kind], told["envoy"]):
        assert ours == theirs


def test_connections_are_rejected(proxy_kind):
    """`reject_incoming_connections`: closed as they come, and counted."""
    port = free_port()
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listener("main", port, ANSWER)], [], free_port(),
                              **overload(action("reject_incoming_connections"))))
        proxy.wait_stat("overload.envoy.overload_actions.reject_incoming_connections.active", 1)
        with connect(port) as client:
            assert client.recv(1) == b""
        assert proxy.stat(f"listener.127.0.0.1_{port}.downstream_cx_overload_reject") == 1
        assert proxy.stat(f"overload.{HEAP}.pressure") > 100


def test_connections_wait(proxy_kind):
    """`stop_accepting_connections`: the kernel has them, and nobody accepts."""
    port = free_port()
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listener("main", port, ANSWER)], [], free_port(),
                              **overload(action("stop_accepting_connections"))))
        proxy.wait_stat("overload.envoy.overload_actions.stop_accepting_connections.active", 1)
        with connect(port) as client:
            client.sendall(request_bytes())
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_enough_memory_changes_nothing(proxy_kind):
    """Below its trigger an action is off, whatever its kind."""
    port = free_port()
    names = ("stop_accepting_requests", "disable_http_keepalive", "stop_accepting_connections",
             "reject_incoming_connections")
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listener("main", port, ANSWER)], [], free_port(), **overload(
            *map(action, names), monitors=[heap(1 << 40)])))
        with Connection(port) as client:
            for _ in range(3):
                client.send(request_bytes())
                assert client.read_response().status == 200
        for name in names:
            assert proxy.stat(f"overload.envoy.overload_actions.{name}.active") == 0


REFUSED = {
    "an action that is not there": overload(action("shrink_heap_somehow")),
    "an action twice": overload(*[action("stop_accepting_requests")] * 2),
    "a monitor twice": overload(monitors=[heap(), heap()]),
    "a trigger without its monitor": {"overload_manager": {
        "actions": [action("stop_accepting_requests")]}},
    "a scale upside down": overload(action("disable_http_keepalive", scaled={
        "scaling_threshold": 0.9, "saturation_threshold": 0.5})),
    "no memory at all": overload(monitors=[heap(0)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(proxy_kind, name):
    """What Envoy refuses, with the place."""
    code, output = Proxy(proxy_kind).validate(
        bootstrap([listener("main", free_port(), ANSWER)], [], **REFUSED[name]))
    assert code != 0, output
    if proxy_kind == "fairlead":
        assert "overload_manager." in output, output
