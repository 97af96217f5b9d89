"""Access logs: operators, JSON and filters. The extra line goes to the case's own file field."""

from harness.upstream import chunked, reply, stall

from ..model import ROUTER, bytes_of, case, get, prefix, req, says, to, typed

OPERATORS = {
    "numbers": {
        "request_headers_bytes": "%REQUEST_HEADERS_BYTES%",
        "response_trailers_bytes": "%RESPONSE_TRAILERS_BYTES%",
        "truncated": "%REQ(X-LONG):5%",
        "local_port": ":%DOWNSTREAM_LOCAL_PORT%", "upstream_port": ":%UPSTREAM_REMOTE_PORT%",
    },
    "headers": {
        "fallback": "%REQ(X-NONE?X-LONG)%", "resp": "%RESP(X-UP)%",
        "resp_fallback": "%RESP(X-NONE?X-UP)%", "trailer": "%TRAILER(X-T)%",
        "request_header": "%REQUEST_HEADER(X-LONG)%", "response_header": "%RESPONSE_HEADER(X-UP)%",
        "response_trailer": "%RESPONSE_TRAILER(X-T)%",
    },
    "paths": {
        "path": "%PATH%", "path_wq": "%PATH(WQ)%", "path_nq": "%PATH(NQ)%",
        "path_orig": "%PATH(WQ:ORIG)%", "path_path": "%PATH(NQ:PATH)%",
        "query": "%QUERY_PARAM(q)%", "queries": "%QUERY_PARAMS%",
        "queries_orig": "%QUERY_PARAMS(ORIG)%",
    },
    "names": {
        "hostname": "%HOSTNAME%", "environment": "%ENVIRONMENT(HOME)%",
        "none": "%ENVIRONMENT(NO_SUCH_THING)%", "log_type": "%ACCESS_LOG_TYPE%",
        "virtual_cluster": "%VIRTUAL_CLUSTER_NAME%", "chain": "%FILTER_CHAIN_NAME%",
        "server_name": "%REQUESTED_SERVER_NAME%", "percent": "100%%",
        "grpc": "%GRPC_STATUS%", "grpc_number": "%GRPC_STATUS_NUMBER%",
    },
    "upstream": {
        "remote": "%UPSTREAM_REMOTE_ADDRESS%",
        "remote_no_port": "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "local_no_port": "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        "host_name": "%UPSTREAM_HOST_NAME%",
        "host_name_no_port": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
        "hosts_attempted": "%UPSTREAM_HOSTS_ATTEMPTED%",
        "hosts_attempted_no_port": "%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%",
        "names_attempted": "%UPSTREAM_HOST_NAMES_ATTEMPTED%",
        "names_attempted_no_port": "%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%",
        "close_type": "%UPSTREAM_DETECTED_CLOSE_TYPE%",
        "close_reason": "%UPSTREAM_LOCAL_CLOSE_REASON%",
    },
    "downstream": {
        "local": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        "direct_local": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%",
        "remote_port_kind": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
        "close_type": "%DOWNSTREAM_DETECTED_CLOSE_TYPE%",
        "close_reason": "%DOWNSTREAM_LOCAL_CLOSE_REASON%",
        "tls": "%DOWNSTREAM_TLS_VERSION%",
        # Between two ends of one machine less than the millisecond that it is told in.
        "round_trip": "%DOWNSTREAM_CX_RTT%",
    },
}
for _group, _fields in OPERATORS.items():
    case(f"access log operators of {_group}",
         req("POST", "/old/p?q=7&r", {"x-long": "abcdefgh"}, b"body"),
         get("/d?q=1"), log=_fields,
         routes=[says("local", prefix("/d")), to("up", prefix("/old"), prefix_rewrite="/new")],
         upstreams={"up": chunked(headers={"x-up": "u"}, trailers=[("x-t", "t")])})
RETRIED = {"retry_policy": {"retry_on": "5xx,connect-failure", "num_retries": 2}}
case("access log operators of upstream: no host took the request",
     get("/a", expect=503),
     log={**OPERATORS["upstream"], "connection": "%UPSTREAM_CONNECTION_ID%",
          "connections_attempted": "%UPSTREAM_CONNECTION_IDS_ATTEMPTED%"},
     routes=[to("up", **RETRIED)], upstreams={"up": "refused"})
case("access log operators of upstream: the last of several attempts",
     get("/a", expect=503), log=OPERATORS["upstream"], routes=[to("up", **RETRIED)],
     upstreams={"up": reply(503)})
case("access log operators of downstream when the client leaves",
     log=OPERATORS["downstream"], scenario=lambda run: _leave(run),
     upstreams={"up": stall()})


def _leave(run, how="close"):
    """Asks for what never comes, and goes once the upstream has been asked."""
    connection = run.connect()
    connection.send(get("/asked").data)
    run.upstreams["up"].wait_requests(1)
    getattr(connection, how)()


def _filtered(name, filter_, *steps, **parts):
    """A log line only for what the filter takes."""
    line = "@@here\tcode=%RESPONSE_CODE%\tpath=%REQ(:PATH)%\n"
    case(f"access log filter: {name}", *steps,
         hcm={"access_log": [{"name": "envoy.access_loggers.file", "filter": filter_,
                              "typed_config": typed(
                                  "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                                  path="@@logfile",
                                  log_format={"text_format_source": {"inline_string": line}})}]},
         **parts)


def _status(op, value):
    return {"status_code_filter": {"comparison": {"op": op, "value": {
        "default_value": value, "runtime_key": "@@no_key"}}}}


MIX = {"routes": [says("ok", prefix("/200")), says("no", prefix("/404"), status=404),
                  says("bad", prefix("/500"), status=500), to("up")]}
STEPS = [get("/200"), get("/404", expect=404), get("/500", expect=500), get("/up")]
for _op in ("EQ", "GE", "LE", "NE"):
    _filtered(f"status {_op} 404", _status(_op, 404), *STEPS, **MIX)
_filtered("header", {"header_filter": {"header": {"name": ":path", "string_match": {
    "prefix": "/4"}}}}, *STEPS, **MIX)
_filtered("and", {"and_filter": {"filters": [_status("GE", 400), _status("LE", 499)]}},
          *STEPS, **MIX)
_filtered("or", {"or_filter": {"filters": [_status("EQ", 200), _status("EQ", 500)]}},
          *STEPS, **MIX)
_filtered("any response flag", {"response_flag_filter": {}}, get("/x", expect=404), get("/200"),
          routes=[says("ok", prefix("/200"))])
_filtered("a response flag", {"response_flag_filter": {"flags": ["NR"]}}, get("/x", expect=404),
          get("/200"), routes=[says("ok", prefix("/200"))])
_filtered("not health checks", {"not_health_check_filter": {}}, *STEPS, **MIX)
_filtered("duration", {"duration_filter": {"comparison": {"op": "GE", "value": {
    "default_value": 150, "runtime_key": "@@no_key"}}}}, get("/fast"), get("/slow"),
    upstreams={"up": lambda e: [
        e.request.target == "/slow" and e.wait(0.3), reply()(e)]})
_filtered("runtime with all", {"runtime_filter": {"runtime_key": "@@k", "percent_sampled": {
    "numerator": 100}}}, *STEPS, **MIX)
_filtered("runtime with none", {"runtime_filter": {"runtime_key": "@@k", "percent_sampled": {
    "numerator": 0}}}, *STEPS, **MIX)
case("a JSON access log keeps types, nulls and nesting",
     req("POST", "/p?x", {"x-q": 'a"b\\c'}, b"body"), get("/d", expect=404),
     routes=[to("up", prefix("/p"))],
     hcm={"access_log": [{"name": "json", "typed_config": typed(
         "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="@@logfile",
         log_format={"json_format": {
             "@case": "@@here", "code": "%RESPONSE_CODE%", "sent": "%BYTES_SENT%",
             "text": "%RESPONSE_CODE%!", "none": "%REQ(x-none)%", "quoted": "%REQ(x-q)%",
             "flags": "%RESPONSE_FLAGS%", "deep": {"method": "%REQ(:METHOD)%"},
             "list": ["%PROTOCOL%", "x"], "plain": "text"}})}]})
case("a JSON access log can leave empty values out",
     get("/p", {"x-q": "1"}),
     hcm={"access_log": [{"name": "json", "typed_config": typed(
         "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="@@logfile",
         log_format={"omit_empty_values": True, "json_format": {
             "@case": "@@here", "none": "%REQ(x-none)%", "some": "%REQ(x-q)%",
             "mixed": "%REQ(x-none)%-%REQ(x-q)%"}})}]})
case("a text access log can leave empty values out",
     get("/p", {"x-q": "1"}),
     hcm={"access_log": [{"name": "text", "typed_config": typed(
         "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="@@logfile",
         log_format={"omit_empty_values": True, "text_format_source": {
             "inline_string": "@@here\tnone=%REQ(x-none)%\tsome=%REQ(x-q)%\n"}})}]})
case("one request can go to two access logs",
     get("/p"),
     hcm={"access_log": [{"name": f"n{n}", "typed_config": typed(
         "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="@@logfile",
         log_format={"text_format_source": {"inline_string": f"@@here\tlog=number {n}\n"}})}
         for n in (1, 2)]})

# --- a listener's access log: a line for each connection ---

CONNECTION = {
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%", "protocol": "%PROTOCOL%", "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%", "details": "%RESPONSE_CODE_DETAILS%",
    "type": "%ACCESS_LOG_TYPE%", "close_type": "%DOWNSTREAM_DETECTED_CLOSE_TYPE%",
    "path": "%REQ(:PATH)% %PATH% %RESP(x)%", "route": "%ROUTE_NAME%", "stream": "%STREAM_ID%",
    "upstream": "%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_PROTOCOL% "
                "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_CONNECTION_ID% "
                "%UPSTREAM_DETECTED_CLOSE_TYPE% %UPSTREAM_HOSTS_ATTEMPTED%",
    "durations": "%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%",
    "bytes": "%BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT%",
    "names": "%REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% %VIRTUAL_CLUSTER_NAME% %GRPC_STATUS%",
    "body": "%LOCAL_REPLY_BODY%",
}


def _connections(name, *steps, filter_=None, **parts):
    """A case with a listener that logs its connections."""
    fields = "\t".join(["@@here"] + [f"{key}={text}" for key, text in CONNECTION.items()])
    log = {"name": "connections", "typed_config": typed(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="@@logfile",
        log_format={"text_format_source": {"inline_string": fields + "\n"}})}
    if filter_:
        log["filter"] = filter_
    parts["listener"] = {"access_log": [log], **parts.get("listener", {})}
    case(f"a listener's access log {name}", *steps, **parts)


_connections("has one line for two requests", get("/p", on="a"), get("/q", on="a"))
_connections("tells of HTTP/1.0", req("GET", "/p", version="HTTP/1.0"),
             hcm={"http_protocol_options": {"accept_http_10": True,
                                            "default_host_for_http_10": "test.example"}})
_connections("tells of a connection on which nobody asked",
             scenario=lambda run: run.connect().close())
_connections("tells of a client that leaves", scenario=lambda run: _leave(run),
             upstreams={"up": stall()})
_connections("tells of a client that resets", scenario=lambda run: _leave(run, "reset"),
             upstreams={"up": stall()})
_connections("tells of a connection that no filter chain takes",
             scenario=lambda run: run.note("ends", run.connect().ends_within(3)),
             listener={"filter_chains": [{
                 "filter_chain_match": {"destination_port": 1},
                 "filters": [{"name": "http", "typed_config": typed(
                     "envoy.extensions.filters.network.http_connection_manager.v3"
                     ".HttpConnectionManager", stat_prefix="@@other",
                     route_config={"name": "none"}, http_filters=[ROUTER])}]}]})
_connections("tells of what is not HTTP", bytes_of(b"GET / HTTP/1.1\r\nhost: a\r\nbad line\r\n\r\n"))
_connections("tells of what is not HTTP behind what is", get("/p", on="a"),
             bytes_of(b"GET / HTTP/1.1\r\nhost: a\r\nbad line\r\n\r\n", on="a"))
for _name, _filter in {
        "no status": _status("EQ", 0),
        "any status": _status("GE", 1),
        "any duration": {"duration_filter": {"comparison": {"op": "GE", "value": {
            "default_value": 0, "runtime_key": "@@no_key"}}}},
        "a field": {"header_filter": {"header": {"name": ":path", "present_match": True}}},
        "no field": {"header_filter": {"header": {"name": ":path", "present_match": False}}},
        "any response flag": {"response_flag_filter": {}},
        "an unknown gRPC status": {"grpc_status_filter": {"statuses": ["UNKNOWN"]}},
        "no health check": {"not_health_check_filter": {}},
        "all by chance": {"runtime_filter": {"runtime_key": "@@k", "percent_sampled": {
            "numerator": 100}}},
        "none by chance": {"runtime_filter": {"runtime_key": "@@k", "percent_sampled": {
            "numerator": 0}}},
        "metadata": {"metadata_filter": {"matcher": {
            "filter": "ns", "path": [{"key": "k"}], "value": {"present_match": True}}}},
}.items():
    _connections(f"filtered by {_name}", get("/p"), filter_=_filter)
