"""What the connection manager adds to and takes from requests and responses."""

from harness.upstream import raw, reply

from ..model import bytes_of, case, get, post, says, to, vhost

# --- x-forwarded-for, x-forwarded-proto and who is trusted ---

XFF = {"x-forwarded-for": "203.0.113.7"}
INTERNAL_CIDR = {"internal_address_config": {"cidr_ranges": [
    {"address_prefix": "127.0.0.0", "prefix_len": 8}]}}
CLAIMS = {
    "x-envoy-internal": "true", "x-envoy-external-address": "1.2.3.4",
    "x-envoy-downstream-service-cluster": "theirs", "x-envoy-downstream-service-node": "node",
    "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "7", "x-envoy-upstream-rq-timeout-ms": "5000",
    "x-envoy-upstream-rq-per-try-timeout-ms": "400", "x-envoy-upstream-alt-stat-name": "alt",
    "x-envoy-upstream-rq-timeout-alt-response": "1", "x-envoy-expected-rq-timeout-ms": "9",
    "x-envoy-force-trace": "true", "x-envoy-ip-tags": "a", "x-envoy-decorator-operation": "op",
    "x-envoy-original-path": "/old", "x-envoy-original-url": "http://old",
    "x-envoy-attempt-count": "9", "x-envoy-is-timeout-retry": "true",
    "x-envoy-retriable-status-codes": "418", "x-envoy-retriable-header-names": "x-z",
    "x-envoy-retry-grpc-on": "internal", "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-upstream-stream-duration-ms": "9000", "x-envoy-unknown": "kept",
    "x-envoy-original-dst-host": "1.2.3.4:5", "x-envoy-fault-delay-request": "1",
    "x-forwarded-proto": "https", "x-forwarded-host": "h", "x-forwarded-port": "1",
    "x-forwarded-client-cert": "By=a", "x-request-id": "mine", "x-client-trace-id": "trace",
}
for _name, _hcm in {
        "by default": {},
        "with use_remote_address": {"use_remote_address": True},
        "with use_remote_address and an internal client": {
            "use_remote_address": True, **INTERNAL_CIDR},
        "with an internal client and the default address": INTERNAL_CIDR,
        "with skip_xff_append": {"use_remote_address": True, "skip_xff_append": True},
        "with one trusted hop": {"use_remote_address": True, "xff_num_trusted_hops": 1},
        "with two trusted hops": {"use_remote_address": True, "xff_num_trusted_hops": 2},
        "with one trusted hop and without use_remote_address": {"xff_num_trusted_hops": 1},
        "with trusted hops and internal addresses": {
            "use_remote_address": True, "xff_num_trusted_hops": 1, **INTERNAL_CIDR}}.items():
    case(f"x-forwarded-for {_name}",
         get(), get(headers=XFF), get(headers={"x-forwarded-for": "10.0.0.1, 203.0.113.7"}),
         get(headers={"x-forwarded-for": "203.0.113.7, 127.0.0.2"}),
         get(headers={"x-forwarded-for": "127.0.0.5"}),
         get(headers={"x-forwarded-for": "2001:db8::1"}),
         get(headers={"x-forwarded-for": "garbage"}), get(headers={"x-forwarded-for": ""}),
         get(headers=[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]), hcm=_hcm)
    case(f"x-envoy and x-forwarded claims of a client {_name}", get(headers=CLAIMS), hcm=_hcm)
    case(f"x-envoy claims of a client behind a proxy {_name}",
         get(headers={**CLAIMS, **XFF}), hcm=_hcm)
case("x-forwarded-proto tells the scheme unless the client may",
     get(), get(headers={"x-forwarded-proto": "https"}),
     get(headers={"x-forwarded-proto": "HTTPS"}), get(headers={"x-forwarded-proto": "ftp"}))
case("append_x_forwarded_port tells the port", get(), get(headers={"x-forwarded-port": "9"}),
     hcm={"append_x_forwarded_port": True, "use_remote_address": True})
# --- x-request-id ---

case("a request gets an id", get())
case("an external client's request id is replaced",
     get(headers={"x-request-id": "11111111-2222-4333-8444-555555555555"}),
     hcm={"use_remote_address": True})
case("preserve_external_request_id keeps it",
     get(headers={"x-request-id": "not-a-uuid-but-kept"}), get(),
     hcm={"use_remote_address": True, "preserve_external_request_id": True})
case("an internal client's request id is kept",
     get(headers={"x-request-id": "internal-id"}),
     hcm={"use_remote_address": True, **INTERNAL_CIDR})
case("without use_remote_address a request id is kept",
     get(headers={"x-request-id": "kept-id"}))
case("generate_request_id false adds none",
     get(), get(headers={"x-request-id": "mine"}), hcm={"generate_request_id": False})
case("always_set_request_id_in_response returns it",
     get(headers={"x-request-id": "mine"}), hcm={"always_set_request_id_in_response": True})

# --- server, via, date, names ---

for _transformation in ("OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH"):
    case(f"server_header_transformation {_transformation}",
         get("/"), get("/d"), vhosts=[vhost(says("d", {"prefix": "/d"}), to("up"))],
         upstreams={"up": reply(headers={"server": "theirs"})},
         hcm={"server_header_transformation": _transformation})
    case(f"server_header_transformation {_transformation} without one from upstream",
         get(), hcm={"server_header_transformation": _transformation})
case("server_name names the server", get(), hcm={"server_name": "edge/1.0"})
case("via is appended to requests and responses",
     get(), get(headers={"via": "1.0 first"}), get("/d"), hcm={"via": "fair"},
     vhosts=[vhost(says("d", {"prefix": "/d"}), to("up"))],
     upstreams={"up": reply(headers={"via": "1.1 theirs"})})
case("a date from upstream is kept",
     get(), upstreams={"up": reply(headers={"date": "Sun, 06 Nov 1994 08:49:37 GMT"})})
case("add_user_agent tells upstream who asks",
     get(), get(headers={"user-agent": "curl"}),
     hcm={"add_user_agent": True, "use_remote_address": True, **INTERNAL_CIDR})
for _action, _expect in (("ALLOW", 200), ("REJECT_REQUEST", 400), ("DROP_HEADER", 200)):
    case(f"headers_with_underscores_action {_action}",
         get(headers={"x_under": "1", "x-plain": "2"}, expect=_expect), get(headers={"x-p": "_"}),
         hcm={"common_http_protocol_options": {"headers_with_underscores_action": _action}})
case("proxy_100_continue is off: the proxy says continue itself",
     post(headers={"expect": "100-continue"}))
case("proxy_100_continue is on: the upstream says continue",
     post(headers={"expect": "100-continue"}), hcm={"proxy_100_continue": True},
     upstreams={"up": raw(b"HTTP/1.1 100 Continue\r\n\r\n",
                          b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")})
case("an unknown expectation", post(headers={"expect": "200-ok"}))
case("suppress_envoy_headers leaves the x-envoy headers out",
     get(), hcm={"http_filters": [{
         "name": "envoy.filters.http.router", "typed_config": {
             "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
             "suppress_envoy_headers": True}}]},
     vhosts=[vhost(to("up", prefix_rewrite="/z"), include_request_attempt_count=True)])
case("respect_expected_rq_timeout takes the time from the caller",
     get(headers={"x-envoy-expected-rq-timeout-ms": "777"}),
     hcm={"use_remote_address": True, **INTERNAL_CIDR, "http_filters": [{
         "name": "envoy.filters.http.router", "typed_config": {
             "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
             "respect_expected_rq_timeout": True}}]})
case("strict_check_headers refuses a malformed x-envoy header",
     get(headers={"x-envoy-upstream-rq-timeout-ms": "soon"}, expect=400),
     get(headers={"x-envoy-upstream-rq-timeout-ms": "100"}),
     hcm={"use_remote_address": True, **INTERNAL_CIDR, "http_filters": [{
         "name": "envoy.filters.http.router", "typed_config": {
             "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
             "strict_check_headers": ["x-envoy-upstream-rq-timeout-ms"]}}]})
# --- internal requests' wishes ---

TRUST = {"use_remote_address": True, **INTERNAL_CIDR}
case("an internal client sets the route timeout",
     get(headers={"x-envoy-upstream-rq-timeout-ms": "200"}, expect=504), hcm=TRUST,
     upstreams={"up": lambda e: e.stall()}, expect_log={"flags": "UT"})
case("an internal client sets the per-try timeout",
     get(headers={"x-envoy-upstream-rq-per-try-timeout-ms": "200"}, expect=504), hcm=TRUST,
     upstreams={"up": lambda e: e.stall()}, expect_log={"flags": "UT"})
case("an external client does not set the route timeout",
     get(headers={"x-envoy-upstream-rq-timeout-ms": "1"}), hcm={"use_remote_address": True},
     upstreams={"up": lambda e: [e.wait(0.3), reply()(e)]})
case("an internal client asks for another answer to a timeout",
     get(headers={"x-envoy-upstream-rq-timeout-ms": "200",
                  "x-envoy-upstream-rq-timeout-alt-response": "1"}, expect=204),
     hcm=TRUST, upstreams={"up": lambda e: e.stall()})
case("an internal client asks for another name in the statistics",
     get(headers={"x-envoy-upstream-alt-stat-name": "alt"}), hcm=TRUST)
case("an internal client bounds the stream's duration upstream",
     get(headers={"x-envoy-upstream-stream-duration-ms": "200"}, expect=504), hcm=TRUST,
     upstreams={"up": lambda e: e.stall()})

# --- hop by hop ---

HOP = {"connection": "keep-alive, x-named", "keep-alive": "timeout=5", "x-named": "1",
       "proxy-connection": "keep-alive", "te": "trailers, deflate", "upgrade": "foo",
       "proxy-authenticate": "Basic", "proxy-authorization": "Basic x", "trailer": "x-t"}
for _name, _value in HOP.items():
    case(f"the request header {_name}: {_value}",
         get(headers={_name: _value, "x-named": "1"} if _name == "connection" else {_name: _value}))
    case(f"the response header {_name}: {_value}",
         get(expect=200), upstreams={"up": reply(headers={
             _name: _value, **({"x-named": "1"} if _name == "connection" else {})})})
case("TE: trailers is passed on", get(headers={"te": "trailers"}))
case("Connection: close of a client ends the connection", get(headers={"connection": "close"}))
case("Connection: close of an upstream ends only the upstream's",
     get(on="a"), get(on="a"), upstreams={"up": reply(headers={"connection": "close"})})
case("Connection names fields that must not pass",
     get(headers={"connection": "x-a, x-b", "x-a": "1", "x-b": "2", "x-c": "3"}))
case("Connection may not take the host or the forwarding fields away",
     get(headers={"connection": "host, x-forwarded-for, content-length"}, expect=400))

# --- fields as they are ---

case("cookies in several fields",
     get(headers=[("cookie", "a=1"), ("cookie", "b=2")]))
case("several set-cookie fields stay apart",
     get(), upstreams={"up": reply(headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])})
case("fields of one name keep their order",
     get(headers=[("x-a", "1"), ("x-b", "2"), ("x-a", "3")]),
     upstreams={"up": reply(headers=[("x-a", "1"), ("x-b", "2"), ("x-a", "3")])})
case("field names fold to lower case", get(headers={"X-MiXeD": "CaSe"}),
     upstreams={"up": reply(headers={"X-MiXeD": "CaSe"})})
case("space around values is dropped",
     bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nx-a:  \t v w\t \r\nx-b:\r\n\r\n", expect=200),
     upstreams={"up": raw(b"HTTP/1.1 200 OK\r\nx-a: \t v \r\ncontent-length: 0\r\n\r\n")})
case("eight-bit bytes in values are passed on",
     bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nx-a: \xc3\xa4\xff\r\n\r\n", expect=200),
     upstreams={"up": raw(b"HTTP/1.1 200 OK\r\nx-a: \xe4\r\ncontent-length: 0\r\n\r\n")})
