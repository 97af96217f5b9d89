"""A proxy before upstreams of every kind, and the figures that the project promises.

A refused upstream is answered within 50 ms, timeouts come within 0.5 s of their value, a client's
going away reaches the upstream within 0.1 s.
"""

import contextlib
import time

from harness.client import Connection, ConnectionEnded, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import BlackHole, Upstream, refusing_port

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


def route(path, name, **action):
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
            route("/refused", "refused", timeout="5s"), route("/hole", "hole", timeout="5s"),
            route("/retry", "up", timeout="5s", retry_policy={
                "retry_on": "5xx,reset,connect-failure", "num_retries": 3}),
            route("/patient", "up", timeout="0s"),
            route("/", "up", timeout=f"{ROUTE_TIMEOUT}s"),
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
