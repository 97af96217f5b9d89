"""Route actions: where a request goes, and as what."""

from harness.upstream import reply, sequence, stall

from ..model import case, get, header_add, path, post, prefix, regex, req, route, says, to, vhost

A_AND_B = {
    "clusters": {"a": {}, "b": {}},
    "upstreams": {"a": reply(body=b"a"), "b": reply(body=b"b")},
}

# --- which cluster ---

case("a cluster_header names the cluster",
     get(headers={"x-cluster": "@@a"}, expect="a"), get(headers={"x-cluster": "@@b"}, expect="b"),
     routes=[to(None, cluster_header="x-cluster")], **A_AND_B)
case("a cluster_header that is absent finds no cluster",
     get(expect=503), routes=[to(None, cluster_header="x-cluster")],
     expect_log={"flags": "NC"})
case("a cluster_header that names no cluster finds none",
     get(headers={"x-cluster": "nobody"}, expect=503),
     routes=[to(None, cluster_header="x-cluster")],
     expect_log={"flags": "NC", "details": "cluster_not_found"})
for _code, _status in (("SERVICE_UNAVAILABLE", 503), ("NOT_FOUND", 404),
                       ("INTERNAL_SERVER_ERROR", 500)):
    case(f"an unknown cluster answers {_status} with {_code}",
         get(expect=_status),
         vhosts=[vhost({"match": prefix("/"), "route": {
             "cluster": "nobody", "cluster_not_found_response_code": _code}})],
         route_config={"validate_clusters": False}, expect_log={"flags": "NC"})
case("a weighted cluster with all the weight gets every request",
     get(expect="b"), get(expect="b"), get(expect="b"),
     routes=[to(None, weighted_clusters={"clusters": [
         {"name": "@@a", "weight": 0}, {"name": "@@b", "weight": 100}]})], **A_AND_B)
case("weighted clusters need not add up to a hundred",
     get(expect="a"), routes=[to(None, weighted_clusters={"clusters": [
         {"name": "@@a", "weight": 7}]})], **A_AND_B)
case("a weighted cluster's header changes come before the route's",
     get(headers={"x-gone": "1"}, expect="a"),
     routes=[{**to(None, weighted_clusters={"clusters": [{
         "name": "@@a", "weight": 1,
         "request_headers_to_add": [header_add("x-order", "cluster")],
         "request_headers_to_remove": ["x-gone"],
         "response_headers_to_add": [header_add("x-answer", "cluster")],
         "response_headers_to_remove": ["x-secret"]}]}),
         "request_headers_to_add": [header_add("x-order", "route")],
         "response_headers_to_add": [header_add("x-answer", "route")]}],
     clusters={"a": {}}, upstreams={"a": reply(body=b"a", headers={"x-secret": "1"})})
case("a weighted cluster can rewrite the host",
     get(), routes=[to(None, weighted_clusters={"clusters": [
         {"name": "@@up", "weight": 1, "host_rewrite_literal": "inner.example"}]})])
case("a weighted cluster can be named by a header",
     get(headers={"x-c": "@@b"}, expect="b"),
     routes=[to(None, weighted_clusters={"clusters": [{"cluster_header": "x-c", "weight": 1}]})],
     **A_AND_B)
case("weighted clusters can take their random value from a header",
     *[get(headers={"x-random": str(n)}) for n in (0, 1, 29, 30, 31, 99, 100, 129, 130, 12345)],
     routes=[to(None, weighted_clusters={"header_name": "x-random", "clusters": [
         {"name": "@@a", "weight": 30}, {"name": "@@b", "weight": 70}]})], **A_AND_B)

# --- redirects ---

HOST = {"host": "foo.com"}


def _redirect(**action):
    return [route(prefix("/"), redirect=action)]


case("https_redirect changes the scheme",
     get("/a?b=1", **HOST, expect=301), get("/a", host="foo.com:80", expect=301),
     get("/a", host="foo.com:8080", expect=301), routes=_redirect(https_redirect=True))
case("scheme_redirect changes the scheme",
     get("/a", **HOST, expect=301), get("/a", host="foo.com:443", expect=301),
     routes=_redirect(scheme_redirect="https"))
case("a scheme_redirect to http takes the port 443 away",
     get("/a", host="foo.com:443", expect=301), get("/a", host="foo.com:80", expect=301),
     routes=_redirect(scheme_redirect="http"))
case("host_redirect changes the host and drops the port",
     get("/a?b", host="foo.com:8080", expect=301), routes=_redirect(host_redirect="bar.com"))
case("port_redirect changes the port",
     get("/a", host="foo.com:8080", expect=301), get("/a", **HOST, expect=301),
     routes=_redirect(port_redirect=8443))
case("host, port and scheme can change together",
     get("/a?b", host="foo.com:1", expect=301),
     routes=_redirect(host_redirect="bar.com", port_redirect=8443, https_redirect=True))
case("a redirect to the scheme's own port writes it out",
     get("/a", **HOST, expect=301), routes=_redirect(https_redirect=True, port_redirect=443))
case("path_redirect replaces the path and keeps the query",
     get("/a?b=1", **HOST, expect=301), routes=_redirect(path_redirect="/new"))
case("a path_redirect with a query of its own drops the request's",
     get("/a?b=1", **HOST, expect=301), routes=_redirect(path_redirect="/new?c=2"))
case("strip_query drops the query",
     get("/a?b=1", **HOST, expect=301), get("/a", **HOST, expect=301),
     routes=_redirect(path_redirect="/new", strip_query=True))
case("strip_query without another path drops the query",
     get("/a?b=1", **HOST, expect=301), routes=_redirect(https_redirect=True, strip_query=True))
case("a redirect can replace the matched prefix",
     get("/old/x?y", **HOST, expect=301), get("/old", **HOST, expect=301),
     get("/older", **HOST, expect=301),
     routes=[route(prefix("/old"), redirect={"prefix_rewrite": "/new"})])
case("a redirect's prefix_rewrite replaces an exact path",
     get("/old?y", **HOST, expect=301),
     routes=[route(path("/old"), redirect={"prefix_rewrite": "/new"})])
case("a redirect can rewrite the path by a regular expression",
     get("/u/7/x?y=1", **HOST, expect=301),
     routes=_redirect(regex_rewrite={
         "pattern": {"regex": "^/u/([0-9]+)/(.*)$"}, "substitution": "/\\2/user-\\1"}))
for _code, _status in (("MOVED_PERMANENTLY", 301), ("FOUND", 302), ("SEE_OTHER", 303),
                       ("TEMPORARY_REDIRECT", 307), ("PERMANENT_REDIRECT", 308)):
    case(f"a redirect with {_code} answers {_status}",
         get("/a", **HOST, expect=_status), post("/a", **HOST, expect=_status),
         routes=_redirect(host_redirect="bar.com", response_code=_code))
case("a redirect of HEAD has no body", req("HEAD", "/", **HOST, expect=301),
     routes=_redirect(https_redirect=True))
case("a redirect that changes nothing still redirects",
     get("/a?b", **HOST, expect=301), routes=[route(prefix("/"), redirect={})])
case("a redirect is logged as a direct response and counted as a redirect",
     get("/a", **HOST, expect=301), routes=_redirect(https_redirect=True),
     expect_log={"flags": "-", "details": "direct_response"})
case("a redirect takes the route's response headers",
     get("/a", **HOST, expect=301),
     routes=[{**_redirect(https_redirect=True)[0],
              "response_headers_to_add": [header_add("x-added", "1")]}])
case("a redirect of an IPv6 host keeps the brackets",
     get("/a", host="[::1]:8080", expect=301), routes=_redirect(https_redirect=True))

# --- direct responses ---

for _status in (200, 201, 304, 400, 404, 418, 500, 503):
    case(f"a direct response may be a {_status}",
         get(expect=_status), routes=[says("the body", status=_status)])
case("a direct response may be a 204 without a body",
     get(expect=204), routes=[route(prefix("/"), direct_response={"status": 204})])
case("a direct response of 204 with a body frames nothing",
     get(expect=None), routes=[says("the body", status=204)])
case("a direct response without a body", get(expect=403),
     routes=[route(prefix("/"), direct_response={"status": 403})])
case("a direct response to HEAD names the length and sends no body",
     req("HEAD", "/", expect=200), routes=[says("the body")])
case("a direct response has its route's headers and may set its type",
     get(), routes=[says("{}", response_headers_to_add=[
         header_add("content-type", "application/json", "OVERWRITE_IF_EXISTS_OR_ADD"),
         header_add("x-added", "%PROTOCOL%")])])
case("a direct response can be formatted",
     get("/x"), routes=[{"match": prefix("/"), "direct_response": {"status": 200, "body_format": {
         "text_format_source": {"inline_string": "%REQ(:METHOD)% %REQ(:PATH)% %ROUTE_NAME%\n"}}},
         "name": "me"}])
case("a direct response answers a POST before its body and keeps the connection",
     post(on="same"), get(on="same"), routes=[says("now")])
case("a direct response can hold bytes", get(),
     routes=[route(prefix("/"), direct_response={"status": 200, "body": {"inline_bytes": "AAEC"}})])

# --- path rewrites ---

case("prefix_rewrite replaces the matched prefix and tells the original path",
     get("/api/x?y=1"), get("/api"), get("/apix"),
     routes=[to("up", prefix("/api"), prefix_rewrite="/v2")])
case("prefix_rewrite to / keeps what follows",
     get("/api/x"), get("/api"), get("/api?q"),
     routes=[to("up", prefix("/api/"), prefix_rewrite="/"),
             to("up", prefix("/api"), prefix_rewrite="/")])
case("prefix_rewrite of an exact path replaces all of it",
     get("/api?y=1"), routes=[to("up", path("/api"), prefix_rewrite="/v2")])
case("prefix_rewrite of a path without case sensitivity",
     get("/API/x"), routes=[to("up", prefix("/api", case_sensitive=False), prefix_rewrite="/v2")])
case("prefix_rewrite after path_separated_prefix",
     get("/api/x"), get("/api"), get("/api?q"),
     routes=[to("up", {"path_separated_prefix": "/api"}, prefix_rewrite="/v2")])
case("regex_rewrite rewrites the path and keeps the query",
     get("/service/foo/v1/api?x=1"),
     routes=[to("up", regex_rewrite={"pattern": {"regex": "^/service/([^/]+)(/.*)$"},
                                     "substitution": "\\2/instance/\\1"})])
case("regex_rewrite replaces every occurrence",
     get("/one/two/one?one"), routes=[to("up", regex_rewrite={
         "pattern": {"regex": "one"}, "substitution": "1"})])
case("regex_rewrite that does not match leaves the path",
     get("/a?b"), routes=[to("up", regex_rewrite={
         "pattern": {"regex": "zzz"}, "substitution": "y"})])
case("regex_rewrite with prefix and regex matches",
     get("/x/1"), routes=[to("up", regex("/x/[0-9]"), regex_rewrite={
         "pattern": {"regex": "/([a-z])/(.)"}, "substitution": "/\\2/\\1"})])
# --- host rewrites ---

case("host_rewrite_literal replaces the host", get(host="a.example"),
     routes=[to("up", host_rewrite_literal="b.example")])
case("host_rewrite_header takes the host from a header",
     get(headers={"x-host": "b.example"}), get(), get(headers={"x-host": ""}),
     routes=[to("up", host_rewrite_header="x-host")])
case("host_rewrite_path_regex takes the host from the path, without the query",
     get("/b.example/x?c.example"), get("/nothing"),
     routes=[to("up", host_rewrite_path_regex={
         "pattern": {"regex": "^/(.+\\.example)/.*$"}, "substitution": "\\1"})])
case("auto_host_rewrite has no effect on an address without a name",
     get(), routes=[to("up", auto_host_rewrite=True)])
case("auto_host_rewrite takes the endpoint's host name",
     get(), routes=[to("up", auto_host_rewrite=True)],
     clusters={"up": {"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
         "hostname": "inner.example", "address": {"socket_address": {
             "address": "127.0.0.1", "port_value": "@@port:up"}}}}]}]}}})
case("auto_host_rewrite takes the name of a STRICT_DNS endpoint",
     get(), routes=[to("up", auto_host_rewrite=True)],
     clusters={"up": {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "load_assignment": {
         "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
             "address": "localhost", "port_value": "@@port:up"}}}}]}]}}})
case("append_x_forwarded_host keeps the original host",
     get(host="a.example"), get(host="a.example", headers={"x-forwarded-host": "first.example"}),
     routes=[to("up", host_rewrite_literal="b.example", append_x_forwarded_host=True)])
case("append_x_forwarded_host says nothing when the host stays",
     get(host="a.example"), routes=[to("up", append_x_forwarded_host=True)])

# --- internal redirects ---


def _location(target, status=302):
    return reply(status, b"moved", {"location": target})


def _internal(first, *more, policy=None, clusters=None, **parts):
    return {
        "routes": [to("up", prefix("/start"), internal_redirect_policy=policy or {}),
                   to("b", prefix("/next"), internal_redirect_policy=policy or {}), to("b")],
        "clusters": clusters or {"up": {}, "b": {}},
        "upstreams": {"up": sequence(first, *more), "b": reply(body=b"b")}, **parts}


case("an internal redirect is followed by the proxy",
     get("/start"), **_internal(_location("http://test.example/next?x=1")))
case("an internal redirect to a relative path reaches the client",
     get("/start", expect=302), **_internal(_location("/next")))
case("an internal redirect without a policy reaches the client",
     get(expect=302), upstreams={"up": _location("http://test.example/next")})
for _status in (301, 303, 307, 308):
    case(f"a {_status} is not an internal redirect unless listed",
         get("/start", expect=_status),
         **_internal(_location("http://test.example/next", _status)))
    case(f"a {_status} can be made an internal redirect",
         get("/start"), req("POST", "/start", body=b"once"),
         **_internal(_location("http://test.example/next", _status),
                     policy={"redirect_response_codes": [_status]}))
case("an internal redirect to another scheme reaches the client",
     get("/start", expect=302), **_internal(_location("https://test.example/next")))
case("an internal redirect to another scheme is followed when allowed",
     get("/start"), **_internal(_location("https://test.example/next"),
                                policy={"allow_cross_scheme_redirect": True}))
case("internal redirects end at their maximum",
     get("/start", expect=302),
     routes=[to("up", internal_redirect_policy={"max_internal_redirects": 2})],
     upstreams={"up": _location("http://test.example/again")})
case("the default maximum is one internal redirect",
     get("/start", expect=302),
     routes=[to("up", internal_redirect_policy={})],
     upstreams={"up": _location("http://test.example/again")})
case("an internal redirect without a location reaches the client",
     get("/start", expect=302), **_internal(reply(302, b"where")))
case("an internal redirect to a malformed location reaches the client",
     get("/start", expect=302), **_internal(_location("::nowhere")))
case("an internal redirect that no route matches reaches the client",
     get("/start", expect=302),
     vhosts=[vhost(to("up", internal_redirect_policy={}), domains=["test.example"])],
     upstreams={"up": _location("http://elsewhere.example/")})
case("an internal redirect of a POST that has its whole body is followed",
     post("/start"), **_internal(_location("http://test.example/next")))
case("response headers can be copied into the redirected request",
     get("/start"), **_internal(
         reply(302, b"", {"location": "http://test.example/next", "x-copy": "me", "x-not": "no"}),
         policy={"response_headers_to_copy": ["x-copy", "x-absent"]}))
# --- mirrors ---


def _settled(name, count=1):
    """A scenario that sends one request and waits until a mirror got its copy."""

    def scenario(run):
        run.send(post("/m?x", b"body", {"x-a": "1"}))
        run.upstreams[name].wait_for(
            lambda: len([r for r in run.upstreams[name].requests if r.complete]) >= count,
            what="the mirrored request")

    return scenario


MIRROR = {"clusters": {"up": {}, "shadow": {}}, "upstreams": {"shadow": reply(500, b"nobody sees")}}
case("a mirrored request goes to the shadow cluster too",
     scenario=_settled("shadow"),
     routes=[to("up", request_mirror_policies=[{"cluster": "@@shadow"}])], **MIRROR)
case("a mirrored request's host need not get the suffix",
     scenario=_settled("shadow"),
     routes=[to("up", request_mirror_policies=[{
         "cluster": "@@shadow", "disable_shadow_host_suffix_append": True}])], **MIRROR)
case("a mirror with a share of zero sends nothing",
     get(), routes=[to("up", request_mirror_policies=[{
         "cluster": "@@shadow",
         "runtime_fraction": {"default_value": {"numerator": 0, "denominator": "HUNDRED"}}}])],
     **MIRROR)
case("a mirror with the whole share sends everything",
     scenario=_settled("shadow"), routes=[to("up", request_mirror_policies=[{
         "cluster": "@@shadow",
         "runtime_fraction": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}}])],
     **MIRROR)
case("a mirror's cluster can be named by a header",
     get(), get(headers={"x-shadow": "nobody"}),
     routes=[to("up", request_mirror_policies=[{"cluster_header": "x-shadow"}])], **MIRROR)
case("two mirrors both get a copy",
     scenario=lambda run: [_settled("shadow")(run), run.upstreams["dark"].wait_requests(1)],
     routes=[to("up", request_mirror_policies=[{"cluster": "@@shadow"}, {"cluster": "@@dark"}])],
     clusters={"up": {}, "shadow": {}, "dark": {}})
case("a mirror that never answers delays nobody",
     get(on="a"), get(on="a"), get(on="a"),
     routes=[to("up", request_mirror_policies=[{"cluster": "@@shadow"}], timeout="0.3s")],
     clusters={"up": {}, "shadow": {}}, upstreams={"shadow": stall()})
case("a mirror that refuses connections harms nobody",
     get(), routes=[to("up", request_mirror_policies=[{"cluster": "@@shadow"}])],
     clusters={"up": {}, "shadow": {}}, upstreams={"shadow": "refused"})
case("a virtual host's mirror applies to routes without their own",
     scenario=_settled("shadow"),
     vhosts=[vhost(to("up"), request_mirror_policies=[{"cluster": "@@shadow"}])], **MIRROR)
