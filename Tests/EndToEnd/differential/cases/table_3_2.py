"""Local replies: every row of the table of Envoy's own answers, and what can be made of them."""

from harness.upstream import raw, reply, reset, hang_up, stall

from ..model import (
    bytes_of, case, get, header_add, http_filter, post, prefix, req, route, says, to, typed,
    vhost,
)

FAULT = "envoy.filters.http.fault"
HUNDRED = {"numerator": 100, "denominator": "HUNDRED"}


def _row(name, *steps, flags, details, **parts):
    """A row of the table: flags and details as logged, the rest by comparison."""
    case(f"table of local replies: {name}", *steps, expect_log={"flags": flags, "details": details},
         **parts)


_row("no route", get("/x", expect=404), routes=[says("a", prefix("/a"))],
     flags="NR", details="route_not_found")
_row("unknown host", get(host="other", expect=404),
     vhosts=[vhost(to("up"), domains=["known"])], flags="NR", details="route_not_found")
_row("missing Host", bytes_of(b"GET / HTTP/1.1\r\n\r\n", 400),
     flags="-", details="missing_host_header")
_row("direct response", get(expect=418), routes=[says("tea", status=418)],
     flags="-", details="direct_response")
_row("redirect", get(expect=301), routes=[route(prefix("/"), redirect={"https_redirect": True})],
     flags="-", details="direct_response")
_row("unknown cluster", get(expect=503), vhosts=[vhost({**to(), "route": {"cluster": "nobody"}})],
     route_config={"validate_clusters": False}, flags="NC", details="cluster_not_found")
_row("no hosts", get(expect=503), clusters={"up": {"endpoints": []}},
     flags="UH", details="no_healthy_upstream")
_row("connect refused", get(expect=503), upstreams={"up": "refused"}, flags="UF",
     details="upstream_reset_before_response_started{remote_connection_failure"
             "|delayed_connect_error:_Connection_refused}")
_row("connect refused, after retries", get(expect=503), upstreams={"up": "refused"},
     routes=[to("up", retry_policy={"retry_on": "connect-failure", "num_retries": 2})],
     flags="URX,UF",
     details="upstream_reset_before_response_started{remote_connection_failure"
             "|delayed_connect_error:_Connection_refused}")
_row("connect timeout", get(expect=503), upstreams={"up": "blackhole"},
     clusters={"up": {"connect_timeout": "0.2s"}}, flags="UF",
     details="upstream_reset_before_response_started{connection_timeout}")
_row("upstream closes before it answers", get(expect=503), upstreams={"up": hang_up()}, flags="UC",
     details="upstream_reset_before_response_started{connection_termination}")
_row("upstream resets before it answers", get(expect=503), upstreams={"up": reset()}, flags="UC",
     details="upstream_reset_before_response_started{connection_termination}")
_row("upstream sends garbage", get(expect=502), upstreams={"up": raw(b"garbage\r\n\r\n")},
     flags="UPE", details="upstream_reset_before_response_started{protocol_error}")
_row("upstream closes within its answer", get(expect=None),
     upstreams={"up": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", then="fin")},
     flags="UPE", details="upstream_reset_after_response_started{protocol_error}")
_row("upstream resets within its answer", get(expect=None),
     upstreams={"up": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", then="rst")},
     flags="UPE", details="upstream_reset_after_response_started{protocol_error}")
_row("route timeout", get(expect=504), routes=[to("up", timeout="0.2s")],
     upstreams={"up": stall()}, flags="UT", details="response_timeout")
_row("per-try timeout, exhausted", get(expect=504),
     routes=[to("up", retry_policy={"retry_on": "5xx", "per_try_timeout": "0.15s"})],
     upstreams={"up": stall()}, flags="URX,UT", details="upstream_per_try_timeout")
_row("per-try idle timeout", get(expect=504),
     routes=[to("up", retry_policy={"per_try_idle_timeout": "0.15s"})],
     upstreams={"up": stall()}, flags="UT", details="upstream_per_try_idle_timeout")
_row("max_stream_duration", get(expect=504),
     routes=[to("up", max_stream_duration={"max_stream_duration": "0.2s"})],
     upstreams={"up": stall()}, flags="-", details="max_duration_timeout")
_row("upstream max_stream_duration", get(expect=504), upstreams={"up": stall()},
     clusters={"up": {"typed_extension_protocol_options": {
         "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
             "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
             common_http_protocol_options={"max_stream_duration": "0.2s"},
             explicit_http_config={"http_protocol_options": {}})}}},
     flags="UMSDR", details="upstream_max_stream_duration_reached")
_row("circuit breaker", get(expect=503),
     clusters={"up": {"circuit_breakers": {"thresholds": [{"max_requests": 0}]}}},
     flags="UO", details="upstream_reset_before_response_started{overflow}")
_row("fault abort", get(expect=503),
     filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                          abort={"http_status": 503, "percentage": HUNDRED})],
     flags="FI", details="fault_filter_abort")
_row("fault delay", get(expect=200),
     filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                          delay={"fixed_delay": "0.05s", "percentage": HUNDRED})],
     flags="DI", details="via_upstream")
_row("local rate limit", get(), get(expect=429),
     filters=[http_filter(
         "envoy.filters.http.local_ratelimit", "local_ratelimit.v3.LocalRateLimit",
         stat_prefix="@@rl",
         token_bucket={"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
         filter_enabled={"default_value": HUNDRED}, filter_enforced={"default_value": HUNDRED})],
     flags="RL", details="local_rate_limited")
_row("stream idle timeout", get(expect=504), hcm={"stream_idle_timeout": "0.2s"},
     upstreams={"up": stall()}, flags="SI", details="stream_idle_timeout")
_row("request timeout", hcm={"request_timeout": "0.2s"}, scenario=lambda run: _partial(
    run, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
     flags="-", details="request_overall_timeout")
_row("request headers timeout", hcm={"request_headers_timeout": "0.2s"},
     scenario=lambda run: _partial(run, b"POST / HTTP/1.1\r\nHost: a\r\n"),
     flags="-", details="request_header_timeout")
_row("body over the buffer filter's limit", post(body=b"x" * 100, expect=413),
     filters=[http_filter("envoy.filters.http.buffer", "buffer.v3.Buffer", max_request_bytes=10)],
     flags="-", details="request_payload_too_large")
_row("a malformed request", bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nx y: 1\r\n\r\n", 400),
     flags="DPE", details="http1.codec_error")
_row("a head too large", bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
                                  431), flags="DPE", details="http1.headers_too_large")
_row("too many fields",
     get(headers=[(f"x-{i}", "1") for i in range(200)], expect=431),
     flags="DPE", details="http1.too_many_headers")
_row("an upgrade that is not allowed",
     get(headers={"connection": "upgrade", "upgrade": "websocket"}, expect=403),
     flags="-", details="upgrade_failed")
_row("a path that does not normalise", get("/%00", expect=400), hcm={"normalize_path": True},
     flags="-", details="path_normalization_failed")
_row("a malformed x-envoy header",
     get(headers={"x-envoy-max-retries": "many"}, expect=400),
     hcm={"use_remote_address": True,
          "internal_address_config": {"cidr_ranges": [
              {"address_prefix": "127.0.0.0", "prefix_len": 8}]},
          "http_filters": [{"name": "envoy.filters.http.router", "typed_config": typed(
              "envoy.extensions.filters.http.router.v3.Router",
              strict_check_headers=["x-envoy-max-retries"])}]},
     flags="IH", details="request_headers_failed_strict_check{x-envoy-max-retries}")
_row("an answer from upstream", get(), flags="-", details="via_upstream")


def _partial(run, data):
    with run.connect() as connection:
        connection.send(data)
        run.record(connection, "POST")


def _client_leaves(run):
    """The client goes away while the upstream is thinking."""
    connection = run.connect()
    connection.send(get().data)
    run.upstreams["up"].wait_requests(1)
    connection.close()
    run.note("the upstream connection ended", run.upstreams["up"].wait_ended(0))


_row("the client goes away", scenario=_client_leaves, upstreams={"up": stall()},
     flags="DC", details="downstream_remote_disconnect")

# --- local_reply_config ---


def _mapper(filter_, **fields):
    return {"filter": filter_, **fields}


def _status(code, op="EQ"):
    return {"status_code_filter": {"comparison": {"op": op, "value": {
        "default_value": code, "runtime_key": "@@no_such_key"}}}}


LOCAL = {"routes": [says("tea", prefix("/tea"), status=418),
                    says("down", prefix("/down"), status=503),
                    to("up", prefix("/up"))]}
case("local_reply_config formats the body as text",
     get("/tea", expect=418), get("/none", expect=404), get("/up"),
     hcm={"local_reply_config": {"body_format": {"text_format_source": {
         "inline_string": "%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%|"
                          "%LOCAL_REPLY_BODY%|%REQ(:path)%|%PROTOCOL%\n"}}}}, **LOCAL)
case("local_reply_config's body_format may set the content type",
     get("/tea", expect=418),
     hcm={"local_reply_config": {"body_format": {
         "text_format_source": {"inline_string": "<b>%LOCAL_REPLY_BODY%</b>"},
         "content_type": "text/html; charset=UTF-8"}}}, **LOCAL)
case("local_reply_config formats the body as JSON",
     get("/tea", expect=418), get("/none", expect=404),
     hcm={"local_reply_config": {"body_format": {"json_format": {
         "code": "%RESPONSE_CODE%", "text": "%LOCAL_REPLY_BODY%",
         "both": "%PROTOCOL% %REQ(:METHOD)%",
         "none": "%REQ(x-none)%", "deep": {"path": "%REQ(:PATH)%"}, "list": ["%PROTOCOL%", "x"]}}}},
     **LOCAL)
case("local_reply_config quotes what JSON needs quoted",
     get("/tea", {"x-a": "a\"b\\c\td"}, expect=418),
     hcm={"local_reply_config": {"body_format": {"json_format": {"a": "%REQ(x-a)%"}}}}, **LOCAL)
case("a mapper changes the status of what its filter takes",
     get("/tea", expect=200), get("/down", expect=503),
     hcm={"local_reply_config": {"mappers": [_mapper(_status(418), status_code=200)]}}, **LOCAL)
case("a mapper replaces the body",
     get("/tea", expect=418), hcm={"local_reply_config": {"mappers": [
         _mapper(_status(418), body={"inline_string": "no tea"})]}}, **LOCAL)
case("a mapper adds headers",
     get("/tea", expect=418), hcm={"local_reply_config": {"mappers": [
         _mapper(_status(418), headers_to_add=[
             header_add("x-mapped", "%RESPONSE_CODE%"),
             header_add("content-type", "text/tea", "OVERWRITE_IF_EXISTS_OR_ADD")])]}}, **LOCAL)
case("a mapper has a body format of its own",
     get("/tea", expect=418), get("/down", expect=503),
     hcm={"local_reply_config": {
         "mappers": [_mapper(_status(418), body_format_override={
             "text_format_source": {"inline_string": "mine: %LOCAL_REPLY_BODY%"}})],
         "body_format": {"text_format_source": {"inline_string": "all: %LOCAL_REPLY_BODY%"}}}},
     **LOCAL)
case("the first mapper that matches is taken",
     get("/tea", expect=401), hcm={"local_reply_config": {"mappers": [
         _mapper(_status(400, "GE"), status_code=401), _mapper(_status(418), status_code=402)]}},
     **LOCAL)
case("a mapper can filter by response flag",
     get("/none", expect=410), get("/tea", expect=418), hcm={"local_reply_config": {"mappers": [
         _mapper({"response_flag_filter": {"flags": ["NR"]}}, status_code=410)]}}, **LOCAL)
case("a mapper can filter by header",
     get("/tea", {"x-a": "1"}, expect=410), get("/tea", expect=418),
     hcm={"local_reply_config": {"mappers": [_mapper(
         {"header_filter": {"header": {"name": "x-a", "present_match": True}}},
         status_code=410)]}}, **LOCAL)
case("a mapper can join filters with and and or",
     get("/tea", {"x-a": "1"}, expect=410), get("/tea", expect=418), get("/down", expect=411),
     hcm={"local_reply_config": {"mappers": [
         _mapper({"and_filter": {"filters": [_status(418), {"header_filter": {
             "header": {"name": "x-a", "present_match": True}}}]}}, status_code=410),
         _mapper({"or_filter": {"filters": [_status(503), _status(599)]}}, status_code=411)]}},
     **LOCAL)
case("an upstream's answer is never mapped",
     get("/up", expect=418), hcm={"local_reply_config": {
         "mappers": [_mapper(_status(418), status_code=200)]}},
     upstreams={"up": reply(418, b"theirs")}, **LOCAL)
case("a local reply to HEAD has a length and no body",
     req("HEAD", "/tea", expect=418), hcm={"local_reply_config": {"body_format": {
         "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%!"}}}}, **LOCAL)
case("a malformed request's answer is mapped too",
     bytes_of(b"GET / HTTP/1.1\r\n\r\n", 400), bytes_of(b"BAD\r\n\r\n", 400),
     hcm={"local_reply_config": {"body_format": {"text_format_source": {
         "inline_string": "[%LOCAL_REPLY_BODY%]"}}}}, **LOCAL)
