"""Active health checks of a cluster's endpoints, and what their results do."""

from harness.http2 import RST_STREAM, Server, frame
from harness.upstream import reply

from ..model import case, get
from .http2 import ask, asked, http2_cluster

# One check, and then none for the rest of the test.
TIMES = {"timeout": "2s", "interval": "100s", "no_traffic_interval": "100s",
         "unhealthy_threshold": 1, "healthy_threshold": 1}
NO_PANIC = {"healthy_panic_threshold": {"value": 0}}


def http(path="/healthz", **more):
    """A cluster that is checked over HTTP and never panics."""
    return _checked(http_health_check={"path": path, **more})


def _checked(**check):
    return {"health_checks": [{**TIMES, **check}], "common_lb_config": NO_PANIC}


def _stats(**values):
    return {f"cluster.@up.health_check.{name}": value for name, value in values.items()}


def answering(status=200, headers=(), checks=200):
    """Answers `/healthz` with one status and the rest with another."""
    def behaviour(exchange):
        is_check = exchange.request.target.startswith("/healthz")
        reply(checks if is_check else status, headers=headers)(exchange)

    return behaviour


case("a host that passes its health check is used", get(), clusters={"up": http()},
     expect_stats={**_stats(attempt=1, success=1, failure=0, healthy=1),
                   "cluster.@up.membership_healthy": 1})
case("a host that fails its health check is not used", get(expect=503),
     clusters={"up": http()}, upstreams={"up": answering(checks=500)},
     expect_stats={**_stats(attempt=1, success=0, failure=1, network_failure=0, healthy=0),
                   "cluster.@up.membership_healthy": 0})
case("a host that fails its health check is used in panic", get(),
     clusters={"up": {**http(), "common_lb_config": {}}}, upstreams={"up": answering(checks=500)},
     expect_stats={"cluster.@up.lb_healthy_panic": 1})
case("only the hosts that pass are used", get(), get(), get(), get(),
     clusters={"up": {**http(), "endpoints": ["good", "bad"]}},
     upstreams={"good": reply(), "bad": answering(checks=503)},
     expect_stats=_stats(attempt=2, success=1, failure=1, healthy=1))
case("below the panic threshold all hosts are used", get(), get(), get(), get(),
     clusters={"up": {**http(), "endpoints": ["good", "bad"], "common_lb_config": {
         "healthy_panic_threshold": {"value": 60}}}},
     upstreams={"good": reply(), "bad": answering(checks=503)},
     # Each gets two of the four; which is first differs from process to process.
     by_chance=r"^log\[\d\] upstream: ")
case("new hosts may be left out until they have been checked", get(expect=503),
     clusters={"up": {**http(), "common_lb_config": {
         **NO_PANIC, "ignore_new_hosts_until_first_hc": True}}},
     upstreams={"up": answering(checks=500)}, expect_stats={"cluster.@up.membership_excluded": 0})
case("a host that cannot be reached is not used", get(expect=503), clusters={"up": http()},
     upstreams={"up": "refused"}, expect_stats=_stats(failure=1, network_failure=1))
case("a host that does not answer in time is not used", get(expect=503),
     clusters={"up": _checked(timeout="0.2s", http_health_check={"path": "/"})},
     upstreams={"up": lambda exchange: exchange.link.socket.recv(1)},
     expect_stats=_stats(failure=1, network_failure=1))
case("a health check names its host", get(), clusters={"up": http(host="check.example")})
case("a health check has fields added and removed", get(), clusters={"up": http(
    request_headers_to_add=[
        {"header": {"key": "X-Check", "value": "one"}},
        {"header": {"key": "x-check", "value": "two"}},
        {"header": {"key": "x-check", "value": "three"}, "append_action": "ADD_IF_ABSENT"},
        {"header": {"key": "user-agent", "value": "mine"},
         "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
        {"header": {"key": "x-none", "value": "v"}, "append_action": "OVERWRITE_IF_EXISTS"}])})
case("a health check's own field can be removed", get(),
     clusters={"up": http(request_headers_to_remove=["User-Agent"])})
for _method in ("GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PUT", "POST", "PATCH"):
    case(f"a health check may be a {_method}", get(), clusters={"up": http(method=_method)})
case("a health check expects other statuses", get(), upstreams={"up": answering(checks=404)},
     clusters={"up": http(expected_statuses=[{"start": 200, "end": 201},
                                             {"start": 404, "end": 405}],
                          codec_client_type="HTTP1")})
case("a health check no longer expects 200", get(expect=503),
     clusters={"up": http(expected_statuses=[{"start": 201, "end": 300}])})
case("a retriable status counts towards the threshold", get(expect=503),
     upstreams={"up": answering(checks=429)},
     clusters={"up": http(retriable_statuses=[{"start": 429, "end": 430}])},
     expect_stats=_stats(failure=1))
case("a host may call itself degraded", get(),
     upstreams={"up": answering(headers={"x-envoy-degraded": "1"})}, clusters={"up": http()},
     expect_stats={**_stats(degraded=1, healthy=1), "cluster.@up.membership_degraded": 1})
case("a failing check may ask that the host be left out", get(expect=503),
     upstreams={"up": answering(headers={"x-envoy-immediate-health-check-fail": "1"}, checks=503)},
     clusters={"up": http()}, expect_stats={"cluster.@up.membership_excluded": 1})


def _leaves(run):
    run.send(get())
    run.proxy.wait_stat(f"cluster.{run.case.tag}_up.health_check.passive_failure", 1)
    run.send(get())


case("an answer may ask that its host get no more requests", scenario=_leaves,
     upstreams={"up": answering(headers={"x-envoy-immediate-health-check-fail": "1"})},
     clusters={"up": http()}, expect_stats=_stats(passive_failure=1, failure=1))
case("an answer that asks for it where nothing is checked", get(), get(),
     upstreams={"up": answering(headers={"x-envoy-immediate-health-check-fail": "1"})})


def _endpoint(**config):
    return {"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "@@port:up"}},
        "health_check_config": config}}]}]}}


case("an endpoint is checked at another port", get(),
     clusters={"up": {**http(), **_endpoint(port_value="@@port:checks")}},
     upstreams={"up": reply(), "checks": reply()})
case("an endpoint is checked under another name", get(),
     clusters={"up": {**http(host="no"), **_endpoint(hostname="check.example")}})
case("an endpoint is not checked", get(), upstreams={"up": answering(checks=500)},
     clusters={"up": {**http(), **_endpoint(disable_active_health_check=True)}},
     expect_stats=_stats(attempt=0))
case("a health check closes its connection", get(),
     clusters={"up": _checked(reuse_connection=False, http_health_check={"path": "/c"})})
case("what a health check asks TLS for changes nothing where there is none", get(), clusters={
    "up": {**_checked(tls_options={"alpn_protocols": ["h2"]}, http_health_check={"path": "/c"})}})
case("every time of a health check", get(), clusters={"up": _checked(
    interval_jitter="1s", interval_jitter_percent=10, initial_jitter="0.01s",
    unhealthy_interval="100s", unhealthy_edge_interval="100s", healthy_edge_interval="100s",
    no_traffic_healthy_interval="100s", http_health_check={"path": "/c"})})

case("a TCP health check connects", get(), clusters={"up": _checked(tcp_health_check={})},
     expect_stats=_stats(success=1, healthy=1))
case("a TCP health check of a host that is away", get(expect=503), upstreams={"up": "refused"},
     clusters={"up": _checked(tcp_health_check={})}, expect_stats=_stats(network_failure=1))


def _hex(text):
    return {"text": text.encode().hex()}


_ASK = _hex("GET /tcp HTTP/1.1\r\nhost: tcp\r\n\r\n")
case("a TCP health check sends and expects bytes", get(), clusters={"up": _checked(
    reuse_connection=False,
    tcp_health_check={"send": _ASK, "receive": [_hex("HTTP/1.1 "), _hex("200"), _hex("hel")]})},
     expect_stats=_stats(success=1))
case("a TCP health check takes bytes in base64", get(), clusters={"up": _checked(
    reuse_connection=False, tcp_health_check={"send": _ASK, "receive": [{"binary": "SFRUUA=="}]})})
case("a TCP health check does not see what it expects", get(expect=503),
     clusters={"up": _checked(timeout="1s", tcp_health_check={
         "send": _ASK, "receive": [_hex("200"), _hex("HTTP/1.1")]})},
     expect_stats=_stats(network_failure=1))


def _health(status, grpc_status="0"):
    def answer(peer, request):
        fields = [("content-type", "application/grpc")]
        body = b"\0\0\0\0\2\x08" + bytes([status])
        if request.headers[":path"] != "/grpc.health.v1.Health/Check":
            return peer.answer(request.stream, 200, b"served")
        return peer.answer(request.stream, 200, body, fields, [("grpc-status", grpc_status)])

    return Server(answer)


def _grpc(name, server, expect, **check):
    def scenario(run):
        asked(ask())(run)
        for request in server.requests:
            if request.headers[":path"].startswith("/grpc"):
                run.note("authority", request.headers[":authority"])
                run.note("message", request.body)
        server.requests.clear()

    case(name, scenario=scenario, expect_stats=_stats(**expect), clusters={"up": {
        **_checked(grpc_health_check=check), **http2_cluster(server)}})


_grpc("a gRPC health check of a server that serves", _health(1), {"success": 1, "healthy": 1})
_grpc("a gRPC health check names its service", _health(1), {"success": 1},
      service_name="pkg.Echo", authority="check.example")
_grpc("a gRPC health check of a server that does not serve", _health(2),
      {"failure": 1, "network_failure": 0})
_grpc("a gRPC health check that is not known", _health(1, "12"),
      {"failure": 1, "network_failure": 0})


_grpc("a gRPC health check that is answered twice", Server(
    lambda peer, request: peer.answer(
        request.stream, 200, b"\0\0\0\0\2\x08\1" * 2, [("content-type", "application/grpc")],
        [("grpc-status", "0")])), {"failure": 1, "network_failure": 0})
_grpc("a gRPC health check that is answered in more words", Server(
    lambda peer, request: peer.answer(
        request.stream, 200, b"\0\0\0\0\6\x08\x81\0\x12\1x",
        [("content-type", "application/grpc")], [("grpc-status", "0")])), {"success": 1})


def _http2(name, server, expect, **check):
    """Checks over HTTP/2; what the first one asks is compared."""
    def scenario(run):
        asked(ask())(run)
        run.note("check", sorted(server.requests[0].headers.items()))
        server.requests.clear()

    case(f"a health check over HTTP/2 {name}", scenario=scenario, expect_stats=_stats(**expect),
         clusters={"up": {**http(codec_client_type="HTTP2", **check), **http2_cluster(server)}})


def _checks(status=200, fields=()):
    def answer(peer, request):
        is_check = request.headers[":path"] == "/healthz"
        peer.answer(request.stream, status if is_check else 200, b"body", fields)

    return Server(answer)


_http2("succeeds", _checks(), {"success": 1, "healthy": 1})
_http2("names its host and has fields", _checks(), {"success": 1}, host="check.example",
       request_headers_to_add=[{"header": {"key": "x-check", "value": "one"}}],
       request_headers_to_remove=["user-agent"])
_http2("may be a POST", _checks(), {"success": 1}, method="POST")
_http2("may be a HEAD", Server(), {"success": 1}, method="HEAD")
_http2("fails by its status", _checks(500), {"failure": 1, "network_failure": 0})
_http2("is answered by a degraded host", _checks(fields=[("x-envoy-degraded", "1")]),
       {"success": 1, "degraded": 1})
_http2("fails when the stream is reset",
       Server(lambda peer, request: peer.send(
           frame(RST_STREAM, stream=request.stream, payload=bytes(4)))),
       {"failure": 1, "network_failure": 1})
_http2("fails when the connection ends", Server(lambda peer, request: peer.close()),
       {"failure": 1, "network_failure": 1})
_grpc("a gRPC health check that is answered by HTTP", Server(
    lambda peer, request: peer.answer(request.stream, 503)), {"failure": 1, "network_failure": 0})
_grpc("a gRPC health check that is not served now", _health(1, "14"),
      {"failure": 1, "network_failure": 0})
