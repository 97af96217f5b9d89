"""Where Fairlead differs from Envoy 1.40 on purpose.

Each entry excuses difference lines (see `comparison.py`) of the cases it names. An entry that
excuses nothing fails the suite, and each reason stands in docs/envoy-differences.md.
"""

import re
from dataclasses import dataclass


@dataclass
class Difference:
    """One known difference: whose cases, which lines, and why."""

    cases: str
    lines: str
    reason: str
    used: bool = False

    def excuses(self, case_name, line):
        """Whether this entry covers a difference line of a case."""
        if re.search(self.cases, case_name) and re.search(self.lines, line):
            self.used = True
            return True
        return False


KNOWN_DIFFERENCES = [
    Difference(
        cases=r"^a gRPC health check |^a health check over HTTP/2",
        lines=r"nghttp2_upstream_connections|^stats cluster\.@up\.http2\.",
        reason="""The connections of health checks over HTTP/2 are not among those that a cluster's `http2.`
statistics count."""),
    Difference(
        cases=r"^an answer may ask that its host get no more requests$",
        lines=r"upstream_cx_(active|destroy|destroy_local): ",
        reason="""A host that fails its health check gets no more requests, and its idle connections stay
open until they time out. Envoy closes them."""),
    Difference(
        cases=r"^TLS: (an upstream .* is not asked|.*an upstream has to be( two at once)?)$",
        lines=r"^log\[\d\] (details|transport_failure): .*TLS_error:.*TLS_error:",
        reason="""Why a TLS handshake failed is told in OpenSSL's words, `TLS_error:` and the reasons.
Envoy tells it in BoringSSL's, with its numbers."""),
    Difference(
        cases=r"^TLS: an upstream and we agree upon HTTP/1$",
        lines=r"upstream_cx_total: envoy 2, fairlead 1$",
        reason="""A connection of `auto_config` counts once in `upstream_cx_total`. Envoy counts it again
when the protocol is known."""),
    Difference(
        cases=r"^TLS: an upstream speaks what both prefer$",
        lines=r"ssl\.(versions|ciphers)\.|upstream_tls_version",
        reason="""TLS 1.3 is spoken with upstreams that speak it. Envoy speaks TLS 1.2 unless
`tls_maximum_protocol_version` says otherwise."""),
    Difference(
        cases=r"^upstream: (a folded line|a status of two digits|a 101 that nobody asked for)$",
        lines=r".",
        reason="""An upstream's answer is held to RFC 9112 as strictly as a request: a folded line, a
status that is not three digits, and a 101 that nobody asked for are answered with
502. Envoy passes them on."""),
    Difference(
        cases=r"^an upgrade with a body length$",
        lines=r".",
        reason="""A request that asks for an upgrade and announces a body stays an ordinary request,
because nobody could tell where the new protocol begins. Envoy upgrades it."""),
    Difference(
        cases=r"^an absolute target with user information$",
        lines=r".",
        reason="""A target with user information is refused with 400, because what stands before the `@`
is there to be mistaken for the host. Envoy drops it."""),
    Difference(
        cases=r"^the response header connection: keep-alive, x-named$",
        lines=r"^response\[0\] headers: only envoy: x-named: 1$",
        reason="""A field that an upstream's `Connection` names is for one hop and ends here, as RFC
9110 §7.6.1 asks. Envoy removes such fields from requests only."""),
    Difference(
        cases=r"(internal redirect|into the redirected request)",
        lines=r"^log\[\d\] (cluster|cluster_raw|received|method|scheme): ",
        reason="""The log of a request that was redirected internally tells of that request: the cluster
that answered it, its own method and scheme, each byte of its body once. Envoy logs
what the redirect made of it."""),
    Difference(
        cases=r"^a direct response (may be a 304|of 204 with a body frames nothing)$",
        lines=r"^(log\[0\] sent|response\[0\] )",
        reason="""A direct response whose status forbids a body has none, on the wire and in the log.
Envoy counts the configured body, and announces it in a 204."""),
    Difference(
        cases=r"^response headers are added to local replies of a route too$",
        lines=r"^response\[\d\] headers: only (envoy|fairlead): x-a: ",
        reason="""`%RESPONSE_CODE%` in a field that is added to a local reply is the reply's status. In
Envoy it is 0, because the field is made before the status is noted."""),
    Difference(
        cases=r"^track_remaining tells what is left$",
        lines=r"remaining_cx_pools",
        reason="""Connection pools are not limited in number, and `remaining_cx_pools` always tells
4294967295."""),
    Difference(
        cases=r"^(a (STRICT|LOGICAL)_DNS cluster finds|auto_host_rewrite takes the name of a STRICT)",
        lines=r"default\.total_match_count",
        reason="""`default.total_match_count` counts every host once. Envoy counts one whose name was
resolved twice."""),
    Difference(
        cases=(
            r"^(Connection: close of a client ends|a chunked answer to HTTP/1\.0 "
            r"ends|accept_http_10 takes|default_host_for_http_10 names|an idle downstream "
            r"connection that never|a listener's access log tells of HTTP/1\.0"
            r"|max_requests_per_connection of the connection "
            r"manager|delayed_close_timeout waits)"),
        lines=r"^stats http\.@\.downstream_cx_destroy_(local|remote): ",
        reason="""Whatever ends a connection in good order, our side is closed first and the client's
end awaited, so that no reset can destroy the last answer: the connection counts as
closed by the client. Envoy closes some of them at once."""),
    Difference(
        cases=(
            r"^(the idle timeout of a downstream connection closes it without a word"
            r"|max_connection_duration ends a downstream connection)$"),
        lines=r"^stats http\.@\.downstream_cx_(destroy_(local|remote)|delayed_close_timeout): ",
        reason="""A connection that has stayed for too long is half-closed, and the client's end awaited,
so that a request which crosses the close is not answered with a reset. Envoy counts
such a connection as closed by its own timeout."""),
    Difference(
        cases=(
            r"(an answer that has begun is never repeated|within its answer|cuts it off|cuts"
            r" an answer off|ends an answer that stalls|a malformed chunk size$|the end "
            r"within a (length|chunk)|the end before the last chunk)"),
        lines=r"^stats http\.@\.downstream_cx_(destroy_(local|remote)|delayed_close_timeout): ",
        reason="""An answer that cannot be finished ends with a reset of the connection, whatever its
framing, so that nobody takes what there is of it for the whole. Envoy closes its side
and waits for the client."""),
    Difference(
        cases=r"^a second priority serves",
        lines=r"membership_change",
        reason="""`membership_change` counts a change of a cluster's hosts once. Envoy counts it once
for each priority."""),
    Difference(
        cases=(
            r"^(fault counts for each downstream cluster|an internal client asks for another name "
            r"in the statistics|x-envoy and x-forwarded claims of a client with "
            r"(use_remote_address and an internal client|trusted hops and internal addresses))$"),
        lines=(
            r"^stats (http\.@\.fault\.them\.aborts_injected"
            r"|cluster\.@up\.alt\.(internal\.)?upstream_rq_(200|2xx|completed)): "),
        reason="""Nothing is counted under names that requests bring, because each of them would take
memory for as long as the process runs: `x-envoy-downstream-service-cluster` adds no
statistics to fault injection, and `x-envoy-upstream-alt-stat-name` none to a cluster."""),
]


# Where a response announces the connection's end, and as far as `_settle_delayed_closes` of
# comparison.py goes.
DELAYED_CLOSE = """A connection that ends with a response is half-closed as soon as the response is
sent, so that the client learns of the end at once; Envoy keeps its side open until
`delayed_close_timeout` is over. A client that closes in answer is counted under
`downstream_cx_destroy_remote` here, and under `downstream_cx_delayed_close_timeout` and
`downstream_cx_destroy_local` there."""
