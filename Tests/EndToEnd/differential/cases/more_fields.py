"""Fields that no other module of cases is about, one case or two for each."""

import pathlib

from harness.upstream import chunked, reply, sequence, stall

from ..model import bytes_of, case, get, http_filter, path, post, prefix, says, to, typed, vhost

# Any small file that is there.
REQUIREMENTS = str(pathlib.Path(__file__).resolve().parents[2] / "requirements.txt")
HUNDRED = {"numerator": 100, "denominator": "HUNDRED"}
NEVER = {"numerator": 0, "denominator": "HUNDRED"}
FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"


def _log(**config):
    return [{"name": "file", "typed_config": typed(FILE_LOG, path="@@logfile", **config)}]


# --- access logs ---

case("the deprecated format of a file access log",
     get("/p"), hcm={"access_log": _log(format="@@here\tpath=%REQ(:PATH)%\n")})
case("the deprecated json_format of a file access log writes strings",
     get("/p"), hcm={"access_log": _log(json_format={
         "@case": "@@here", "code": "%RESPONSE_CODE%", "none": "%REQ(x-none)%"})})
case("the deprecated typed_json_format of a file access log keeps types",
     get("/p"), hcm={"access_log": _log(typed_json_format={
         "@case": "@@here", "code": "%RESPONSE_CODE%", "none": "%REQ(x-none)%",
         "deep": {"a": "%BYTES_SENT%"}})})
case("the deprecated text_format of a log format",
     get("/p"), hcm={"access_log": _log(log_format={
         "text_format": "@@here\tpath=%REQ(:PATH)%\n"})})
case("sort_properties sorts a JSON access log",
     get("/p"), hcm={"access_log": _log(log_format={
         "json_format": {"z": "%PROTOCOL%", "a": "x", "@case": "@@here"},
         "json_format_options": {"sort_properties": True}})})
case("a listener's access log tells of the connection",
     get("/p"), listener={"access_log": _log(log_format={"text_format_source": {
         "inline_string": "@@here\tconnection=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
                          " %RESPONSE_CODE% %PROTOCOL%\n"}})})
case("grpc_status_filter logs the listed statuses",
     get("/ok"), get("/bad"),
     hcm={"access_log": [{**_log(format="@@here\tpath=%REQ(:PATH)%\n")[0], "filter": {
         "grpc_status_filter": {"statuses": ["UNAVAILABLE"]}}}]},
     upstreams={"up": lambda e: reply(200, b"", {
         "grpc-status": "14" if e.request.target == "/bad" else "0"})(e)})
case("grpc_status_filter can exclude the listed statuses",
     get("/ok"), get("/bad"),
     hcm={"access_log": [{**_log(format="@@here\tpath=%REQ(:PATH)%\n")[0], "filter": {
         "grpc_status_filter": {"statuses": ["UNAVAILABLE"], "exclude": True}}}]},
     upstreams={"up": lambda e: reply(200, b"", {
         "grpc-status": "14" if e.request.target == "/bad" else "0"})(e)})
for _name, _value in {
        "a text": {"string_match": {"exact": "v"}},
        "a text that begins so": {"string_match": {"prefix": "v", "ignore_case": True}},
        "a text that ends so": {"string_match": {"suffix": "v"}},
        "a text that has it": {"string_match": {"contains": "v"}},
        "a pattern": {"string_match": {"safe_regex": {"regex": "v+"}}},
        "presence": {"present_match": True},
        "absence": {"present_match": False},
        "a flag": {"bool_match": True},
        "a number": {"double_match": {"exact": 1}},
        "a range": {"double_match": {"range": {"start": 1, "end": 2}}},
        "null": {"null_match": {}},
        "a list": {"list_match": {"one_of": {"string_match": {"exact": "v"}}}},
}.items():
    # Both proxies have filters that note something, but none that both have: on a value that is there,
    # each matcher is tried in `test_tls_downstream.py`.
    for _taken in (True, False, None):
        case(f"metadata_filter: {_name}, which nobody set, "
             f"{'by default' if _taken is None else 'taken' if _taken else 'not taken'} without it",
             get("/p"),
             hcm={"access_log": [{**_log(format="@@here\tpath=%REQ(:PATH)%\n")[0], "filter": {
                 "metadata_filter": {
                     "matcher": {"filter": "ns", "path": [{"key": "k"}], "value": _value,
                                 **({} if _taken is None else {"invert": False})},
                     **({} if _taken is None else {"match_if_key_not_found": _taken})}}}]})
case("runtime_filter with use_independent_randomness",
     get("/p"), hcm={"access_log": [{**_log(format="@@here\tpath=%REQ(:PATH)%\n")[0], "filter": {
         "runtime_filter": {"runtime_key": "@@k", "percent_sampled": HUNDRED,
                            "use_independent_randomness": True}}}]})

# --- clusters ---

case("the deprecated http_protocol_options of a cluster",
     get(), upstreams={"up": chunked(trailers=[("x-t", "1")])},
     hcm={"http_protocol_options": {"enable_trailers": True}},
     clusters={"up": {"http_protocol_options": {"enable_trailers": True}}})
case("the deprecated max_requests_per_connection of a cluster",
     get(on="a"), get(on="a"), clusters={"up": {"max_requests_per_connection": 1}},
     expect_stats={"cluster.@up.upstream_cx_total": 2})
case("the deprecated common_http_protocol_options of a cluster",
     get(on="a"), get(on="a"),
     clusters={"up": {"common_http_protocol_options": {"max_requests_per_connection": 1}}},
     expect_stats={"cluster.@up.upstream_cx_total": 2})
case("a small buffer limit of a cluster's connections lets large bodies pass",
     get(), post(body=b"y" * 200_000),
     clusters={"up": {"per_connection_buffer_limit_bytes": 4096}},
     upstreams={"up": reply(body=b"x" * 200_000)})
case("a small buffer limit of a listener lets large bodies pass",
     get(), post(body=b"y" * 200_000), listener={"per_connection_buffer_limit_bytes": 4096},
     upstreams={"up": reply(body=b"x" * 200_000)})
case("a body larger than the listener's buffer is not repeated",
     post(body=b"y" * 50_000, expect=503), listener={"per_connection_buffer_limit_bytes": 4096},
     routes=[to("up", retry_policy={"retry_on": "5xx"})],
     upstreams={"up": sequence(reply(503, b"no"), reply())})
case("tcp_keepalive changes nothing that can be seen",
     get(), clusters={"up": {"upstream_connection_options": {"tcp_keepalive": {
         "keepalive_probes": 3, "keepalive_time": 60, "keepalive_interval": 5}}}})
case("a STRICT_DNS cluster with all its options",
     get(), clusters={"up": {
         "type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "dns_refresh_rate": "60s",
         "respect_dns_ttl": True,
         "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "2s"},
         "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares",
                                       "typed_config": typed(
             "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
             resolvers=[{"socket_address": {"address": "127.0.0.1", "port_value": 53}}],
             query_timeout_seconds=1, query_tries=1)},
         "upstream_connection_options": {"happy_eyeballs_config": {
             "first_address_family_version": "V4", "first_address_family_count": 1}},
         "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
             "socket_address": {"address": "localhost", "port_value": "@@port:up"}}}}]}]}}})
case("endpoints may tell their locality",
     get(), clusters={"up": {"load_assignment": {"endpoints": [{
         "locality": {"region": "r", "zone": "z", "sub_zone": "s"},
         "lb_endpoints": [{"endpoint": {"address": {"socket_address": {
             "address": "127.0.0.1", "port_value": "@@port:up"}}}}]}]}}})
case("LEAST_REQUEST takes an active request bias",
     get(), clusters={"up": {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {
         "active_request_bias": {"default_value": 2.0, "runtime_key": "@@bias"}}}})
case("override_stream_error_on_invalid_http_message of a listener",
     bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n", 400),
     hcm={"http_protocol_options": {"override_stream_error_on_invalid_http_message": True}})

# --- listeners ---

case("a listener's stat_prefix names its statistics",
     get(), listener={"stat_prefix": "@@listener_stats"})
case("a listener takes tcp_backlog_size and enable_reuse_port",
     get(), listener={"tcp_backlog_size": 64, "enable_reuse_port": True})
case("codec_type HTTP1 takes HTTP/1",
     get(), bytes_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400), hcm={"codec_type": "HTTP1"})
case("a filter that is optional and known is there",
     get(expect=503), filters=[{**http_filter(
         "envoy.filters.http.fault", "fault.v3.HTTPFault",
         abort={"http_status": 503, "percentage": HUNDRED}), "is_optional": True}])
case("a FilterConfig that is optional",
     get(expect=418), filters=[http_filter("envoy.filters.http.fault", "fault.v3.HTTPFault")],
     routes=[{**to("up"), "typed_per_filter_config": {"envoy.filters.http.fault": typed(
         "envoy.config.route.v3.FilterConfig", is_optional=True, config=typed(
             "envoy.extensions.filters.http.fault.v3.HTTPFault",
             abort={"http_status": 418, "percentage": HUNDRED}))}}])
case("an upgrade type can be turned off in the connection manager",
     get(headers={"connection": "upgrade", "upgrade": "websocket"}, expect=403),
     hcm={"upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}]})
case("internal addresses may include Unix sockets",
     get(headers={"x-envoy-max-retries": "2"}),
     hcm={"use_remote_address": True, "internal_address_config": {"unix_sockets": True}})
case("dynamic_stats false leaves the statistics of answers out",
     get(), hcm={"http_filters": [{"name": "envoy.filters.http.router", "typed_config": typed(
         "envoy.extensions.filters.http.router.v3.Router", dynamic_stats=False)}]})

# --- routes ---

case("a route's request_body_buffer_limit bounds what can be repeated",
     post(body=b"x" * 5000, expect=503),
     routes=[{**to("up", retry_policy={"retry_on": "5xx"}), "request_body_buffer_limit": 1000}],
     upstreams={"up": sequence(reply(503, b"no"), reply())})
case("a virtual host's request_body_buffer_limit lets more be repeated",
     post(body=b"x" * 50_000), listener={"per_connection_buffer_limit_bytes": 4096},
     vhosts=[vhost(to("up", retry_policy={"retry_on": "5xx"}),
                   request_body_buffer_limit=100_000)],
     upstreams={"up": sequence(reply(503, b"no"), reply())})
case("include_is_timeout_retry_header marks a retry after a timeout",
     get(), vhosts=[vhost(to("up", retry_policy={"retry_on": "5xx", "per_try_timeout": "0.2s"}),
                          include_is_timeout_retry_header=True)],
     upstreams={"up": sequence(stall(), reply())})
case("include_is_timeout_retry_header does not mark another retry",
     get(), vhosts=[vhost(to("up", retry_policy={"retry_on": "5xx"}),
                          include_is_timeout_retry_header=True)],
     upstreams={"up": sequence(reply(503), reply())})
case("metadata of routes, virtual hosts and the configuration is taken",
     get(), vhosts=[vhost({**to("up"), "metadata": {"filter_metadata": {"ns": {"k": "v"}}}},
                          metadata={"filter_metadata": {"ns": {"k": 1}}})],
     route_config={"metadata": {"filter_metadata": {"ns": {"k": True}}}})
case("ignore_path_parameters_in_path_matching leaves parameters out of the match",
     get("/a;v=1/b"), get("/a/b;x"), get("/a;/b"), get("/c;d", expect="else"),
     routes=[says("match", path("/a/b")), says("else")],
     route_config={"ignore_path_parameters_in_path_matching": True})
case("a route configuration's mirror applies to all its virtual hosts",
     scenario=lambda run: [run.send(get()), run.upstreams["shadow"].wait_requests(1)],
     route_config={"request_mirror_policies": [{"cluster": "@@shadow"}]},
     clusters={"up": {}, "shadow": {}})
case("a mirror can rewrite the host",
     scenario=lambda run: [run.send(get()), run.upstreams["shadow"].wait_requests(1)],
     routes=[to("up", request_mirror_policies=[{
         "cluster": "@@shadow", "host_rewrite_literal": "mirror.example"}])],
     clusters={"up": {}, "shadow": {}})
case("grpc_timeout_header_offset shortens grpc-timeout",
     get(headers={"grpc-timeout": "1S"}, expect=504),
     routes=[to("up", max_stream_duration={
         "grpc_timeout_header_max": "5s", "grpc_timeout_header_offset": "0.8s"})],
     upstreams={"up": stall()})
case("runtime_key_prefix lets runtime set the weights",
     get(expect="b"),
     routes=[to(None, weighted_clusters={"runtime_key_prefix": "@@weights", "clusters": [
         {"name": "@@a", "weight": 100}, {"name": "@@b", "weight": 0}]})],
     clusters={"a": {}, "b": {}}, upstreams={"a": reply(body=b"a"), "b": reply(body=b"b")},
     runtime={"@@weights.@@a": 0, "@@weights.@@b": 100})
case("max_direct_response_body_size_bytes lets a larger body be configured",
     get(), routes=[says("x" * 5000)],
     route_config={"max_direct_response_body_size_bytes": 6000})
case("a direct response's body from the environment",
     get(), routes=[{"match": prefix("/"), "direct_response": {
         "status": 200, "body": {"environment_variable": "HOME"}}}])
case("a direct response's body from a file",
     get(), routes=[{"match": prefix("/"), "direct_response": {
         "status": 200, "body": {"filename": REQUIREMENTS}}}])
case("a regular expression may name its engine",
     get("/a1"), routes=[{"match": {"safe_regex": {"google_re2": {}, "regex": "/a[0-9]"}},
                          "direct_response": {"status": 200}}])

# --- filters ---

FAULT = "envoy.filters.http.fault"
case("fault's delay can come from runtime",
     get(), filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                                 delay={"fixed_delay": "5s", "percentage": NEVER},
                                 delay_percent_runtime="@@percent",
                                 delay_duration_runtime="@@duration")],
     runtime={"@@percent": 100, "@@duration": 50}, expect_log={"flags": "DI"})
case("fault's number of active faults can come from runtime",
     get(), filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                                 abort={"http_status": 503, "percentage": HUNDRED},
                                 max_active_faults=10, max_active_faults_runtime="@@active")],
     runtime={"@@active": 0})
case("fault's rate limit can be turned off by runtime",
     get(), upstreams={"up": reply(body=b"x" * 50_000)},
     filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                          response_rate_limit={"fixed_limit": {"limit_kbps": 1},
                                               "percentage": HUNDRED},
                          response_rate_limit_percent_runtime="@@percent")],
     runtime={"@@percent": 0})
case("fault's gRPC status can come from runtime",
     get(), filters=[http_filter(FAULT, "fault.v3.HTTPFault",
                                 abort={"grpc_status": 14, "percentage": HUNDRED},
                                 abort_grpc_status_runtime="@@status")], runtime={"@@status": 5})
case("header_mutation removes what a matcher names",
     get(headers={"x-a-1": "1", "x-a-2": "2", "x-b": "3"}),
     filters=[http_filter("envoy.filters.http.header_mutation", "header_mutation.v3.HeaderMutation",
                          mutations={"request_mutations": [{"remove_on_match": {"key_matcher": {
                              "prefix": "x-a"}}}]})])
case("hash_policy of every kind is taken",
     get(headers={"x-h": "1"}), routes=[to("up", hash_policy=[
         {"header": {"header_name": "x-h", "regex_rewrite": {
             "pattern": {"regex": "a"}, "substitution": "b"}}, "terminal": True},
         {"cookie": {"name": "c"}}, {"connection_properties": {"source_ip": True}},
         {"query_parameter": {"name": "q"}}])])
