"""Why a connection ended, and what identifies it, as access logs tell: compared with the real Envoy.

Both proxies run every scenario once, each on a listener of its own; a test looks at one of them.
"""

import contextlib
import re
import socket

import pytest

from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster
from harness.simple import listener as http_listener
from harness.waiting import until
from test_tcp import Server, connect, listener, receive_all, reset, tcp

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LINE = ("%ACCESS_LOG_TYPE% flags=%RESPONSE_FLAGS% close=%DOWNSTREAM_DETECTED_CLOSE_TYPE% "
        "reason=%DOWNSTREAM_LOCAL_CLOSE_REASON% stream=%STREAM_ID% unique=%UNIQUE_ID% "
        "again=%UNIQUE_ID%\n")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
QUICK = {"delayed_close_timeout": "0.2s", "drain_timeout": "0.1s"}
AT_EASE = {"delayed_close_timeout": "30s"}


def says(*pieces):
    """Sends one after the other, each once the last is answered, and closes."""
    def act(client):
        for piece in pieces:
            client.sendall(piece)
            assert client.recv(65536)
    return act


def stays(*pieces):
    """The same, but waits for the proxy to close its side, and longer than it allows that."""
    def act(client):
        says(*pieces)(client)
        with contextlib.suppress(ConnectionResetError):
            receive_all(client)
        # The end of the connection can only be told by the log; the test waits for that.
        return "held"
    return act


def resets(client):
    """An answer, and a client that goes without a goodbye."""
    says(GET)(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def hears_a_reset(client):
    """A word, and the connection breaks."""
    client.sendall(b"x")
    with contextlib.suppress(ConnectionResetError):
        receive_all(client)


def options(**chosen):
    """What of `common_http_protocol_options` ends connections."""
    return {"common_http_protocol_options": chosen, **QUICK}


# Name: (the client, the connection manager's options).
HTTP = {
    "the client closes": (says(GET), {}),
    "the client resets": (resets, {}),
    "the last answer": (says(LAST), AT_EASE),
    "the last answer to a client that stays": (stays(LAST), QUICK),
    "the last answer, without a wait": (stays(LAST), {"delayed_close_timeout": "0s"}),
    "the last request allowed": (
        says(GET), {**AT_EASE, "common_http_protocol_options": {"max_requests_per_connection": 1}}),
    "no HTTP": (says(b"GET / HTTP/1.1\r\nbad line\r\n\r\n"), AT_EASE),
    "no HTTP from a client that stays": (stays(b"GET / HTTP/1.1\r\nbad line\r\n\r\n"), QUICK),
    "a head too large": (
        says(GET[:-2] + b"x: " + b"y" * 3000 + b"\r\n\r\n"), {**AT_EASE, "max_request_headers_kb": 1}),
    "HTTP/1.0": (says(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"), AT_EASE),
    "a head that never ends": (
        says(b"GET / HTTP/1.1\r\n"), {**AT_EASE, "request_headers_timeout": "0.2s"}),
    "a body nobody reads": (
        says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"), AT_EASE),
    "idle after a request": (stays(GET), options(idle_timeout="0.3s")),
    "idle without a request": (receive_all, options(idle_timeout="0.3s")),
    "too long after a request": (stays(GET), options(max_connection_duration="0.3s")),
    "too long without a request": (receive_all, options(max_connection_duration="0.3s")),
    "HTTP/2": (says(HTTP2), {}),
    "HTTP/2, idle": (stays(HTTP2), options(idle_timeout="0.3s")),
    "HTTP/2 without an answer to pings": (stays(HTTP2), {"http2_protocol_options": {
        "connection_keepalive": {"interval": "0.2s", "timeout": "0.1s"}}}),
}
# Name: (the client, the upstream, the proxy's options, the cluster's).
TCP = {
    "tcp: the client closes": (lambda client: client.sendall(b"x"), receive_all, {}, {}),
    "tcp: the upstream closes": (receive_all, lambda peer: peer.sendall(b"x"), {}, {}),
    "tcp: the upstream resets": (hears_a_reset, reset, {}, {}),
    "tcp: idle": (receive_all, receive_all, {"idle_timeout": "0.3s"}, {}),
    "tcp: too long": (
        receive_all, receive_all, {"max_downstream_connection_duration": "0.3s"}, {}),
    "tcp: nobody listens": (receive_all, None, {}, {}),
    "tcp: no endpoint": (receive_all, receive_all, {}, {"load_assignment": {"endpoints": []}}),
    "tcp: no connection allowed": (receive_all, receive_all, {}, {
        "circuit_breakers": {"thresholds": [{"max_connections": 0}]}}),
    "tcp: no cluster": (receive_all, receive_all, {"cluster": "missing"}, {}),
}
# What our log says of a codec error ends where Envoy's goes on with its parser's words.
CODEC = re.compile(r"reason=codec_error\S*")


def logs(path):
    """An access log to a file."""
    return [{"name": "file", "typed_config": {
        "@type": _FILE_LOG, "path": str(path),
        "log_format": {"text_format_source": {"inline_string": LINE}}}}]


def start(kind, directory, stack):
    """A proxy with a listener for each scenario; yields (name, client, port, log, lines)."""
    listeners, clusters, plan = [], [], []
    answer = [{"match": {"prefix": "/"}, "direct_response": {
        "status": 200, "body": {"inline_string": "ok"}}}]
    for name, (client, manager) in HTTP.items():
        port, log = free_port(), directory / f"{kind}{len(plan)}"
        listeners.append({**http_listener(name, port, answer, **manager), "access_log": logs(log)})
        plan.append((name, client, port, log, 1))
    for name, (client, upstream, proxy, extra) in TCP.items():
        port, log = free_port(), directory / f"{kind}{len(plan)}"
        to = stack.enter_context(Server(upstream)).port if upstream else free_port()
        place = {**cluster(name, to), **extra}
        place["load_assignment"] = {**place["load_assignment"], "cluster_name": name}
        clusters.append(place)
        listeners.append(listener(
            port, tcp(**{"cluster": name, "access_log": logs(log), **proxy}), access_log=logs(log)))
        plan.append((name, client, port, log, 2))
    stack.enter_context(Proxy(kind)).start(bootstrap(listeners, clusters, free_port()))
    return plan


@pytest.fixture(scope="module")
def told(proxy_kind, tmp_path_factory):
    """{proxy: {scenario: the log's lines}}."""
    directory, found = tmp_path_factory.mktemp("logs"), {}
    for kind in {"envoy", proxy_kind}:
        with contextlib.ExitStack() as stack:
            plan = start(kind, directory, stack)
            for _, act, port, _, _ in plan:
                client = stack.enter_context(connect(port))
                if act(client) != "held":
                    client.close()
            found[kind] = {}
            for name, _, _, log, count in plan:
                until(lambda: log.exists() and log.read_text().count("\n") == count, 10,
                      f"{count} lines about '{name}': {log.read_text() if log.exists() else ''}")
                found[kind][name] = sorted(log.read_text().splitlines())
    return found


@pytest.mark.parametrize("name", [*HTTP, *TCP])
def test_the_same_as_envoy(told, proxy_kind, name):
    """Which log it is, flags, who ended it and why; what is an id, and which ids are the same."""
    lines = {}
    for kind in {"envoy", proxy_kind}:
        found = told[kind][name]
        ids = UUID.findall(" ".join(found))
        streams = re.findall(r"stream=(\S+)", " ".join(found))
        assert streams == (["-"] if name in HTTP else [streams[0]] * 2)
        # A fresh one wherever it is asked for.
        assert len(set(ids) - set(streams)) == 2 * len(found)
        lines[kind] = [CODEC.sub("reason=codec_error", UUID.sub("ID", line)) for line in found]
    assert lines[proxy_kind] == lines["envoy"]
