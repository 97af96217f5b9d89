"""Retry policies: when a request is sent again, how often, where to and when not."""

from harness.upstream import raw, reply, reset, hang_up, sequence, stall

from ..model import case, get, path, post, req, to, vhost

OK = reply(200, b"finally")
PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3"
                              ".PreviousHostsPredicate"},
}


def _retry(on, **policy):
    return [to("up", retry_policy={"retry_on": on, **policy})]


# What each condition repeats, and what it does not.
BROKEN = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", then="fin")
FIRST = {
    "500": reply(500, b"no"), "502": reply(502, b"no"), "503": reply(503, b"no"),
    "504": reply(504, b"no"), "409": reply(409, b"no"), "429": reply(429, b"no"),
    "404": reply(404, b"no"), "a reset": reset(), "a close": hang_up(),
    "503 with x-envoy-ratelimited": reply(503, b"no", {"x-envoy-ratelimited": "true"}),
    "a malformed answer": BROKEN,
}
REPEATED = {
    # An answer that a rate limit gave is left alone, unless envoy-ratelimited says otherwise.
    "5xx": {"500", "502", "503", "504", "a reset", "a close", "a malformed answer"},
    "gateway-error": {"502", "503", "504", "a reset", "a close", "a malformed answer"},
    "reset": {"a reset", "a close", "a malformed answer"},
    "retriable-4xx": {"409"},
    "envoy-ratelimited": {"503 with x-envoy-ratelimited"},
    "connect-failure": set(),
    "refused-stream": set(),
    "reset-before-request": set(),
}
for _on, _repeated in REPEATED.items():
    for _what, _behaviour in FIRST.items():
        if _repeated or _what in ("503", "a reset"):
            _first = {"a reset": 503, "a close": 503, "a malformed answer": 502}.get(
                _what, _what[:3])
            case(f"{_what} is {'tried again' if _what in _repeated else 'final'} with {_on}",
                 get(expect="finally" if _what in _repeated else int(_first)), routes=_retry(_on),
                 upstreams={"up": sequence(_behaviour, OK)})
case("connect-failure tries again when the connection is refused",
     get(expect=503), routes=_retry("connect-failure", num_retries=2), upstreams={"up": "refused"},
     expect_log={"flags": "URX,UF", "attempts": "3"})
case("connect-failure tries again when the connection takes too long",
     get(expect=503), routes=_retry("connect-failure"), upstreams={"up": "blackhole"},
     clusters={"up": {"connect_timeout": "0.2s"}}, expect_log={"flags": "URX,UF", "attempts": "2"})
case("5xx tries again when the connection is refused",
     get(expect=503), routes=_retry("5xx"), upstreams={"up": "refused"},
     expect_log={"attempts": "2"})
case("reset-before-request tries again when the connection is refused",
     get(expect=503), routes=_retry("reset-before-request"), upstreams={"up": "refused"})
case("retriable-status-codes tries the listed ones again",
     get(expect="finally"), get(expect=418),
     routes=_retry("retriable-status-codes", retriable_status_codes=[404]),
     upstreams={"up": sequence(reply(404), OK, reply(418))})
case("retriable-headers tries again what a header marks",
     get(expect="finally"), get(expect="no"),
     routes=_retry("retriable-headers", retriable_headers=[
         {"name": "x-again", "string_match": {"exact": "yes"}}]),
     upstreams={"up": sequence(reply(200, b"never", {"x-again": "yes"}), OK,
                               reply(200, b"no", {"x-again": "no"}))})
case("retriable_request_headers limits who is tried again",
     get(expect=503), get(headers={"x-idempotent": "1"}, expect="finally"),
     routes=_retry("5xx", retriable_request_headers=[
         {"name": "x-idempotent", "present_match": True}]),
     upstreams={"up": sequence(reply(503), reply(503), OK)})
for _code, _word in ((1, "cancelled"), (4, "deadline-exceeded"), (13, "internal"),
                     (8, "resource-exhausted"), (14, "unavailable")):
    case(f"the gRPC status {_word} in the head is tried again",
         get(expect="finally"), routes=_retry(_word),
         upstreams={"up": sequence(reply(200, b"", {"grpc-status": str(_code)}), OK)})
    case(f"another gRPC status is not tried again as {_word}",
         get(expect=200), routes=_retry(_word),
         upstreams={"up": sequence(reply(200, b"", {"grpc-status": "2"}), OK)})
case("several conditions are joined by commas",
     get(expect="finally"), routes=_retry("connect-failure,retriable-4xx,reset", num_retries=3),
     upstreams={"up": sequence(reset(), reply(409), OK)})
case("by default there is one retry",
     get(expect=503), routes=_retry("5xx"), upstreams={"up": reply(503, b"no")},
     expect_log={"flags": "URX", "attempts": "2"})
case("num_retries bounds the tries",
     get(expect=503), routes=_retry("5xx", num_retries=3), upstreams={"up": reply(503, b"no")},
     expect_log={"attempts": "4"}, expect_stats={"cluster.@up.upstream_rq_retry": 3})
case("num_retries of zero sends once",
     get(expect=503), routes=_retry("5xx", num_retries=0), upstreams={"up": reply(503, b"no")},
     expect_log={"attempts": "1"})
case("a retry that succeeds is counted",
     get(expect="finally"), routes=_retry("5xx"), upstreams={"up": sequence(reply(503), OK)},
     expect_stats={"cluster.@up.upstream_rq_retry_success": 1})
case("a request with a body is repeated with its body",
     post(body=b"x" * 3000, expect="finally"), routes=_retry("5xx"),
     upstreams={"up": sequence(reply(503), OK)})
case("a chunked request is repeated with its body and trailers",
     req("POST", "/", {"transfer-encoding": "chunked", "trailer": "x-t"},
         b"5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n", expect="finally"), routes=_retry("5xx"),
     upstreams={"up": sequence(reply(503), OK)})
case("a request whose body is over the buffer limit is not repeated",
     post(body=b"x" * 100_000, expect=503),
     vhosts=[vhost(*_retry("5xx"), per_request_buffer_limit_bytes=1000)],
     upstreams={"up": sequence(reply(503, b"no"), OK)})
case("a request whose body is under the virtual host's buffer limit is repeated",
     post(body=b"x" * 1000, expect="finally"),
     vhosts=[vhost(*_retry("5xx"), per_request_buffer_limit_bytes=2000)],
     upstreams={"up": sequence(reply(503), OK)})
case("a route's buffer limit replaces the virtual host's",
     post(body=b"x" * 1500, expect=503),
     vhosts=[vhost({**_retry("5xx")[0], "per_request_buffer_limit_bytes": 1000},
                   per_request_buffer_limit_bytes=100_000)],
     upstreams={"up": sequence(reply(503, b"no"), OK)})
case("an answer that has begun is never repeated",
     get(expect=None), routes=_retry("5xx,reset"),
     upstreams={"up": sequence(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", then="rst"),
                               OK)})
case("attempts are told to the upstream",
     get(expect="finally"),
     vhosts=[vhost(*_retry("5xx", num_retries=3), include_request_attempt_count=True,
                   include_attempt_count_in_response=True)],
     upstreams={"up": sequence(reply(503), reply(503), OK)})
case("a virtual host's retry policy applies to routes without their own",
     get("/a", expect="finally"), get("/b", expect=503),
     vhosts=[vhost(to("up", path("/a")), to("up", path("/b"), retry_policy={"retry_on": "reset"}),
                   retry_policy={"retry_on": "5xx"})],
     upstreams={"up": sequence(reply(503), OK, reply(503), OK)})
case("previous_hosts tries another endpoint",
     get(expect="finally"), get(expect="finally"), get(expect="finally"),
     routes=_retry("5xx", retry_host_predicate=[PREVIOUS_HOSTS],
                   host_selection_retry_max_attempts=5, num_retries=2),
     clusters={"up": {"endpoints": ["bad", "good"]}},
     upstreams={"bad": reply(503, b"no"), "good": OK}, by_chance="^(upstream|stats|log)")
case("a retry takes the next endpoint of a round robin",
     get(expect="finally"),
     routes=_retry("connect-failure", num_retries=2),
     clusters={"up": {"endpoints": ["gone", "good"]}},
     upstreams={"gone": "refused", "good": OK}, by_chance="^(stats|log)")
case("retry_back_off sets the pause between tries",
     get(expect="finally"),
     routes=_retry("5xx", num_retries=2,
                   retry_back_off={"base_interval": "0.01s", "max_interval": "0.02s"}),
     upstreams={"up": sequence(reply(503), reply(503), OK)},
     expect_stats={"cluster.@up.upstream_rq_retry_backoff_exponential": 2})
case("rate_limited_retry_back_off takes the pause from the answer",
     get(expect="finally"),
     routes=_retry("5xx", rate_limited_retry_back_off={
         "reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": "1.5s"}),
     upstreams={"up": sequence(reply(503, headers={"retry-after": "1"}), OK)},
     expect_stats={"cluster.@up.upstream_rq_retry_backoff_ratelimited": 1})
case("rate_limited_retry_back_off above its maximum falls back to the exponential one",
     get(expect="finally"),
     routes=_retry("5xx", rate_limited_retry_back_off={
         "reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": "1s"}),
     upstreams={"up": sequence(reply(503, headers={"retry-after": "1000"}), OK)})
case("the route timeout covers all tries",
     get(expect=504), routes=[to("up", timeout="0.5s", retry_policy={
         "retry_on": "5xx", "num_retries": 10, "per_try_timeout": "0.2s"})],
     upstreams={"up": stall()}, expect_log={"flags": "UT", "details": "response_timeout"})
case("a retry after a per-try timeout can succeed",
     get(expect="finally"), routes=_retry("5xx", per_try_timeout="0.2s"),
     upstreams={"up": sequence(stall(), OK)},
     expect_stats={"cluster.@up.upstream_rq_per_try_timeout": 1})
case("a retry is refused when the breaker for retries is open",
     get(expect=503), routes=_retry("5xx"), upstreams={"up": reply(503, b"no")},
     clusters={"up": {"circuit_breakers": {"thresholds": [{"max_retries": 0}]}}},
     expect_stats={"cluster.@up.upstream_rq_retry_overflow": 1})
case("a retry budget's least concurrency lets retries through",
     get(expect="finally"), routes=_retry("5xx"), upstreams={"up": sequence(reply(503), OK)},
     clusters={"up": {"circuit_breakers": {"thresholds": [
         {"retry_budget": {"budget_percent": {"value": 10}, "min_retry_concurrency": 1}}]}}})
case("a retry budget of nothing refuses retries",
     get(expect=503), routes=_retry("5xx"), upstreams={"up": sequence(reply(503, b"no"), OK)},
     clusters={"up": {"circuit_breakers": {"thresholds": [
         {"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]}}},
     expect_stats={"cluster.@up.upstream_rq_retry_overflow": 1})
case("the details of a refused connection after retries say so",
     get(expect=503), routes=_retry("5xx", num_retries=2), upstreams={"up": "refused"},
     expect_log={"flags": "URX,UF", "attempts": "3"})
case("a HEAD request is retried like any other",
     req("HEAD", "/"), routes=_retry("5xx"), upstreams={"up": sequence(reply(503), OK)})
INTERNAL = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [
    {"address_prefix": "127.0.0.0", "prefix_len": 8}]}}
for _header, _value, _status, _first in (
        ("x-envoy-retry-on", "5xx", 503, reply(503)),
        ("x-envoy-retry-on", "retriable-4xx", 409, reply(409)),
        ("x-envoy-retry-grpc-on", "unavailable", 200, reply(200, b"", {"grpc-status": "14"}))):
    case(f"an internal client asks for retries with {_header}: {_value}",
         get(headers={_header: _value}, expect="finally"), hcm=INTERNAL,
         upstreams={"up": sequence(_first, OK)})
    case(f"an external client cannot ask for retries with {_header}: {_value}",
         get(headers={_header: _value}, expect=_status), hcm={"use_remote_address": True},
         upstreams={"up": sequence(_first, OK)})
case("an internal client sets the number of retries",
     get(headers={"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3"}, expect=503),
     hcm=INTERNAL, upstreams={"up": reply(503, b"no")}, expect_log={"attempts": "4"})
case("an internal client names retriable status codes",
     get(headers={"x-envoy-retry-on": "retriable-status-codes",
                  "x-envoy-retriable-status-codes": "404,418"}, expect="finally"),
     hcm=INTERNAL, upstreams={"up": sequence(reply(418), OK)})
case("an internal client names retriable headers",
     get(headers={"x-envoy-retry-on": "retriable-headers",
                  "x-envoy-retriable-header-names": "x-again,x-more"}, expect="finally"),
     hcm=INTERNAL, upstreams={"up": sequence(reply(200, headers={"x-more": "1"}), OK)})
case("an internal client's number of retries is a wish on top of the route's policy",
     get(headers={"x-envoy-max-retries": "3"}, expect=503), hcm=INTERNAL,
     routes=_retry("5xx", num_retries=1), upstreams={"up": reply(503, b"no")})
