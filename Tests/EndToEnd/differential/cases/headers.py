"""Headers added and removed by the configuration, at every level and with every operator."""

from harness.upstream import reply

from ..model import case, get, header_add, post, prefix, says, to, vhost

ACTIONS = ["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD",
           "OVERWRITE_IF_EXISTS"]

for _action in ACTIONS:
    case(f"{_action} of a request header, absent, there once and there twice",
         get(), get(headers={"x-a": "old"}), get(headers=[("x-a", "old"), ("X-A", "older")]),
         routes=[{**to("up"), "request_headers_to_add": [header_add("x-a", "new", _action)]}])
    case(f"{_action} of a response header, absent and there",
         get(), routes=[{**to("up"), "response_headers_to_add": [
             header_add("x-a", "new", _action), header_add("x-b", "new", _action)]}],
         upstreams={"up": reply(headers=[("x-a", "old"), ("x-a", "older")])})
case("headers are added at route, virtual host and route configuration, in this order",
     get(headers={"x-order": "client"}),
     vhosts=[vhost({**to("up"), "request_headers_to_add": [header_add("x-order", "route")],
                    "response_headers_to_add": [header_add("x-answer", "route")]},
                   request_headers_to_add=[header_add("x-order", "vhost")],
                   response_headers_to_add=[header_add("x-answer", "vhost")])],
     route_config={"request_headers_to_add": [header_add("x-order", "config")],
                   "response_headers_to_add": [header_add("x-answer", "config")]},
     upstreams={"up": reply(headers={"x-answer": "upstream"})})
for _wins in (False, True):
    case("of overwriting at every level the "
         + ("most specific" if _wins else "least specific") + " comes last",
         get(),
         vhosts=[vhost({**to("up"), "request_headers_to_add": [
             header_add("x-a", "route", "OVERWRITE_IF_EXISTS_OR_ADD")],
             "response_headers_to_add": [header_add("x-b", "route", "OVERWRITE_IF_EXISTS_OR_ADD")]},
             request_headers_to_add=[header_add("x-a", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")],
             response_headers_to_add=[header_add("x-b", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")])],
         route_config={
             "most_specific_header_mutations_wins": _wins,
             "request_headers_to_add": [header_add("x-a", "config", "OVERWRITE_IF_EXISTS_OR_ADD")],
             "response_headers_to_add": [
                 header_add("x-b", "config", "OVERWRITE_IF_EXISTS_OR_ADD")]})
case("headers are removed at every level",
     get(headers={"x-1": "a", "x-2": "a", "x-3": "a", "x-4": "a"}),
     vhosts=[vhost({**to("up"), "request_headers_to_remove": ["x-1"],
                    "response_headers_to_remove": ["y-1"]},
                   request_headers_to_remove=["x-2"], response_headers_to_remove=["y-2"])],
     route_config={"request_headers_to_remove": ["X-3"], "response_headers_to_remove": ["Y-3"]},
     upstreams={"up": reply(headers={"y-1": "a", "y-2": "a", "y-3": "a", "y-4": "a"})})
case("removing and adding the same header replaces it",
     get(headers={"x-a": "old"}),
     routes=[{**to("up"), "request_headers_to_remove": ["x-a"],
              "request_headers_to_add": [header_add("x-a", "new")]}])
case("a header whose value comes out empty is left out, unless it is to be kept",
     get(), routes=[{**to("up"), "request_headers_to_add": [
         header_add("x-drop", "%REQ(x-none)%"),
         header_add("x-keep", "%REQ(x-none)%", keep_empty_value=True),
         header_add("x-empty", "", keep_empty_value=True)]}])
case("response headers are added to local replies of a route too",
     get("/d"), get("/u", expect=503),
     vhosts=[vhost(says("d", prefix("/d")), to("up"),
                   response_headers_to_add=[header_add("x-a", "%RESPONSE_CODE%")])],
     upstreams={"up": "refused"})
case("no headers are added when no route matched",
     get("/x", expect=404), vhosts=[vhost(says("a", prefix("/a")), response_headers_to_add=[
         header_add("x-vhost", "1")])],
     route_config={"response_headers_to_add": [header_add("x-config", "1")]})
case("the names of added headers fold to lower case",
     get(), routes=[{**to("up"), "request_headers_to_add": [header_add("X-Mixed-Case", "Value")]}])
case("a percent sign is doubled in a header value",
     get(), routes=[{**to("up"), "request_headers_to_add": [header_add("x-p", "100%%")]}])
case("the deprecated append false overwrites",
     get(headers={"x-a": "old"}),
     routes=[{**to("up"), "request_headers_to_add": [
         {"header": {"key": "x-a", "value": "new"}, "append": False}]}])

OPERATORS = {
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "DOWNSTREAM_LOCAL_ADDRESS": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    "DOWNSTREAM_LOCAL_PORT": ":%DOWNSTREAM_LOCAL_PORT%",
    "PROTOCOL": "%PROTOCOL%",
    "REQ": "%REQ(x-in)%",
    "REQ with a fallback": "%REQ(x-none?x-in)%",
    "REQ with a length": "%REQ(x-in):3%",
    "REQ of a pseudo header": "%REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(:PATH)%",
    "ROUTE_NAME": "%ROUTE_NAME%",
    "UPSTREAM_CLUSTER": "%UPSTREAM_CLUSTER%",
    "HOSTNAME": "%HOSTNAME%",
    "ENVIRONMENT": "%ENVIRONMENT(HOME)%",
    "ENVIRONMENT of nothing": "%ENVIRONMENT(NO_SUCH_VARIABLE)%",
    "REQUESTED_SERVER_NAME": "%REQUESTED_SERVER_NAME%",
    "PATH": "%PATH%",
    "PATH with query": "%PATH(WQ)%",
    "PATH without query": "%PATH(NQ)%",
    "QUERY_PARAM": "%QUERY_PARAM(q)%",
    "QUERY_PARAMS": "%QUERY_PARAMS%",
    "REQUEST_HEADER": "%REQUEST_HEADER(x-in)%",
    "VIRTUAL_CLUSTER_NAME": "%VIRTUAL_CLUSTER_NAME%",
    "several operators and text": "<%PROTOCOL%|%REQ(x-in)%>",
    "START_TIME's format": "%START_TIME(year-%m-x)%",
}
for _name, _text in OPERATORS.items():
    if _name.startswith("START_TIME"):
        continue
    case(f"a request header can be made of {_name}",
         get("/p?q=7&r", {"x-in": "abcdef"}),
         routes=[{**to("up"), "name": "r", "request_headers_to_add": [
             header_add("x-out", _text, keep_empty_value=True)]}])
RESPONSE_OPERATORS = {
    "RESP": "%RESP(x-in)%", "RESP with a fallback": "%RESP(x-none?x-in)%",
    "RESPONSE_HEADER": "%RESPONSE_HEADER(x-in)%",
    "RESPONSE_CODE": "%RESPONSE_CODE%",
    "RESPONSE_CODE_DETAILS": "%RESPONSE_CODE_DETAILS%",
    "RESPONSE_FLAGS": "%RESPONSE_FLAGS%",
    "UPSTREAM_HOST": "%UPSTREAM_HOST%",
    "UPSTREAM_REMOTE_ADDRESS": "%UPSTREAM_REMOTE_ADDRESS%",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "UPSTREAM_REMOTE_PORT": ":%UPSTREAM_REMOTE_PORT%",
    "UPSTREAM_CLUSTER": "%UPSTREAM_CLUSTER%",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "BYTES_RECEIVED": "%BYTES_RECEIVED%",
    "REQ": "%REQ(x-req)%",
}
for _name, _text in RESPONSE_OPERATORS.items():
    case(f"a response header can be made of {_name}",
         post("/p?q=7", headers={"x-req": "abc"}),
         routes=[{**to("up"), "name": "r", "response_headers_to_add": [
             header_add("x-out", _text, keep_empty_value=True)]}],
         upstreams={"up": reply(headers={"x-in": "from upstream"})})
case("attempt counts are added to request and response when a virtual host asks for it",
     get(), vhosts=[vhost(to("up"), include_request_attempt_count=True,
                          include_attempt_count_in_response=True)])
case("internal_only_headers are removed from requests",
     get(headers={"x-secret": "1", "x-open": "2"}),
     route_config={"internal_only_headers": ["x-secret"]})
case("a route's header changes do not see the rewritten path",
     get("/a/b"), routes=[{**to("up", prefix("/a"), prefix_rewrite="/z"),
                           "request_headers_to_add": [header_add("x-path", "%REQ(:PATH)%")],
                           "response_headers_to_add": [header_add("x-path", "%REQ(:PATH)%")]}])
