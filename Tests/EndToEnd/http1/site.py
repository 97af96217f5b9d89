"""A proxy and an upstream for single HTTP/1 messages, and what is seen of an exchange."""

import re
from dataclasses import dataclass

from harness.client import Connection, ConnectionEnded, parse_fields, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, raw, reply

# Header fields that belong to one connection only (RFC 9110 section 7.6.1).
HOP_BY_HOP = {"keep-alive", "proxy-connection", "upgrade"}
# An upgrade is configured nowhere here, so `connection` has nothing to say upstream either.

# The proxy tells whose request it is, so that none is taken for another connection's, however late
# the upstream's thread gets to see it.
CLIENT = "x-client-port"
ROUTE = {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"},
         "request_headers_to_add": [
             {"header": {"key": CLIENT, "value": "%DOWNSTREAM_REMOTE_PORT%"}}]}


class Site:
    """A proxy with a listener for HTTP/1.1, one that takes HTTP/1.0 too, and one upstream."""

    def __init__(self, kind):
        self.upstream = Upstream(reply(200, b"ok"))
        self.port, self.old_port = free_port(), free_port()
        common = {"delayed_close_timeout": "0.1s", "request_timeout": "3s"}
        self.proxy = Proxy(kind).start(bootstrap(
            [listener("strict", self.port, [ROUTE], **common),
             listener("old", self.old_port, [ROUTE],
                      http_protocol_options={"accept_http_10": True}, **common)],
            [cluster("up", self.upstream.port)], free_port()))

    def forwarded(self, connection, since):
        """What came from a connection, among what the upstream has got after `since` requests."""
        return [request for request in self.upstream.requests[since:]
                if request.value(CLIENT) == str(connection.local_port)]

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.upstream.stop()


def check_forwarded(request):
    """What went upstream is a well-formed HTTP/1.1 request that has one meaning."""
    block = request.raw_head[:-4]
    line, _, rest = block.partition(b"\r\n")
    assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-\"$-~]+ HTTP/1\.1", line), line
    fields = parse_fields(rest)
    names = [name.lower() for name, _ in fields]
    assert names.count("host") == 1, fields
    assert re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s/@?#\\,<>:]*)(:[0-9]*)?", request.value("host"))
    assert not {"content-length", "transfer-encoding"} <= set(names), fields
    assert names.count("content-length") <= 1 and names.count("transfer-encoding") <= 1, fields
    assert re.fullmatch("[0-9]+", request.value("content-length") or "0"), fields
    assert request.value("transfer-encoding") in (None, "chunked"), fields
    assert not HOP_BY_HOP & set(names), fields
    assert request.value("te") in (None, "trailers"), fields
    assert "smuggled" not in request.target, request.raw_head


@dataclass
class Outcome:
    """What was seen: answers, whether the connection ended, and what went upstream."""

    responses: list
    closed: bool
    forwarded: list


def exchange(site, data, method="GET", port=None, half_close=False):
    """Sends bytes and reads until the first final answer or the end."""
    before = len(site.upstream.requests)
    with Connection(port or site.port, timeout=5) as connection:
        connection.send(data)
        if half_close:
            connection.half_close()
        responses, closed = [], False
        try:
            responses.append(connection.read_response(method))
            final = responses[-1]
            if final.status >= 300 or "close" in [v.lower() for v in final.values("connection")]:
                closed = connection.ends_within(3)
            elif not half_close:
                # The connection is still in step: a further request is answered and is the next
                # that the upstream sees.
                connection.send(request_bytes(target="/after"))
                after = connection.read_response()
                assert after.status == 200, after
                assert site.forwarded(connection, before)[-1].target == "/after"
        except ConnectionEnded:
            closed = True
        forwarded = [r for r in site.forwarded(connection, before) if r.target != "/after"]
    for request in forwarded:
        check_forwarded(request)
    return Outcome(responses, closed, forwarded)


def ask(site, data, then, method="GET"):
    """One request whose answer is scripted; returns the response, or None for a broken one."""
    site.upstream.behaviour = raw(data, then=then)
    try:
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(method, "/scripted"))
            try:
                return connection.read_response(method)
            except ConnectionEnded:
                return None
    finally:
        site.upstream.behaviour = reply(200, b"ok")
