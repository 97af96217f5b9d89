"""The modules: fault, local_ratelimit, header_mutation, health_check and buffer."""

import time

from harness.upstream import reply

from ..model import case, get, header_add, http_filter, post, prefix, req, says, to, typed, vhost

HUNDRED = {"numerator": 100, "denominator": "HUNDRED"}
NEVER = {"numerator": 0, "denominator": "HUNDRED"}
FAULT = "envoy.filters.http.fault"
FAULT_TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault"


def _fault(**config):
    return http_filter(FAULT, "fault.v3.HTTPFault", **config)


def _abort(status=503, share=HUNDRED):
    return {"http_status": status, "percentage": share}


# --- fault ---

for _status in (200, 400, 404, 503, 599):
    case(f"fault aborts with {_status}", get(expect=_status),
         filters=[_fault(abort=_abort(_status))], expect_log={"flags": "FI"})
case("fault aborts with a gRPC status",
     get(expect=200), get(headers={"content-type": "application/grpc"}),
     filters=[_fault(abort={"grpc_status": 14, "percentage": HUNDRED})])
case("fault with a share of zero lets everything pass",
     get(), get(), filters=[_fault(abort=_abort(share=NEVER),
                                   delay={"fixed_delay": "5s", "percentage": NEVER})])
case("fault aborts nothing when nothing is configured", get(), filters=[_fault()])
case("fault delays and counts it",
     get(), filters=[_fault(delay={"fixed_delay": "0.1s", "percentage": HUNDRED})],
     expect_stats={"http.@.fault.delays_injected": 1}, expect_log={"flags": "DI"})
case("fault delays, then aborts",
     get(expect=418), filters=[_fault(delay={"fixed_delay": "0.1s", "percentage": HUNDRED},
                                      abort=_abort(418))],
     expect_log={"flags": "DI,FI"})
case("fault aborts as a header asks",
     get(expect=200), get(headers={"x-envoy-fault-abort-request": "418"}, expect=418),
     get(headers={"x-envoy-fault-abort-request": "nonsense"}),
     get(headers={"x-envoy-fault-abort-request": "99"}),
     get(headers={"x-envoy-fault-abort-request": "600"}),
     get(headers={"x-envoy-fault-abort-request": "418",
                  "x-envoy-fault-abort-request-percentage": "0"}),
     get(headers={"x-envoy-fault-abort-request": "418",
                  "x-envoy-fault-abort-request-percentage": "100"}, expect=418),
     filters=[_fault(abort={"header_abort": {}, "percentage": HUNDRED})])
case("fault aborts with a gRPC status as a header asks",
     get(headers={"x-envoy-fault-abort-grpc-request": "5"}, expect=200),
     filters=[_fault(abort={"header_abort": {}, "percentage": HUNDRED})])
case("fault's header cannot raise the configured share",
     get(headers={"x-envoy-fault-abort-request": "418",
                  "x-envoy-fault-abort-request-percentage": "100"}),
     filters=[_fault(abort={"header_abort": {}, "percentage": NEVER})])
case("fault delays as a header asks",
     get(headers={"x-envoy-fault-delay-request": "100"}), get(),
     get(headers={"x-envoy-fault-delay-request": "nonsense"}),
     get(headers={"x-envoy-fault-delay-request": "100",
                  "x-envoy-fault-delay-request-percentage": "0"}),
     filters=[_fault(delay={"header_delay": {}, "percentage": HUNDRED})])
case("fault asks for headers to match",
     get(headers={"x-fail": "yes"}, expect=503), get(headers={"x-fail": "no"}), get(),
     filters=[_fault(abort=_abort(), headers=[
         {"name": "x-fail", "string_match": {"exact": "yes"}}])])
case("fault asks for the upstream cluster to match",
     get("/a", expect=503), get("/b"),
     filters=[_fault(abort=_abort(), upstream_cluster="@@a")],
     routes=[to("a", prefix("/a")), to("b")], clusters={"a": {}, "b": {}})
case("fault asks for the downstream node to match",
     get(headers={"x-envoy-downstream-service-node": "n1"}, expect=503), get(),
     filters=[_fault(abort=_abort(), downstream_nodes=["n1", "n2"])])
case("a route's fault configuration replaces the filter's",
     get("/own", expect=418), get("/off"), get("/", expect=503),
     filters=[_fault(abort=_abort())],
     routes=[
         {**to("up", prefix("/own")),
          "typed_per_filter_config": {FAULT: typed(FAULT_TYPE, abort=_abort(418))}},
         {**to("up", prefix("/off")), "typed_per_filter_config": {FAULT: typed(FAULT_TYPE)}},
         to("up")])
case("max_active_faults bounds the delays at one time",
     filters=[_fault(delay={"fixed_delay": "3s", "percentage": HUNDRED}, max_active_faults=1)],
     scenario=lambda run: _overlapping(run))


def _overlapping(run):
    """A second request while the first is being delayed."""
    with run.connect() as first:
        first.send(get("/first").data)
        run.proxy.wait_stat(f"http.{run.case.tag}.fault.active_faults", 1)
        started = time.monotonic()
        run.send(get("/second"))
        run.note("the second was delayed", time.monotonic() - started > 2.5)
        run.record(first)


case("fault's numbers can come from runtime",
     get(expect=418),
     filters=[_fault(abort=_abort(503, NEVER), abort_percent_runtime="@@percent",
                     abort_http_status_runtime="@@status")],
     runtime={"@@percent": 100, "@@status": 418})
case("fault can leave its metadata and statistics per cluster out",
     get(headers={"x-envoy-downstream-service-cluster": "them"}, expect=503),
     filters=[_fault(abort=_abort(), disable_downstream_cluster_stats=True)])
case("fault counts for each downstream cluster",
     get(headers={"x-envoy-downstream-service-cluster": "them"}, expect=503),
     filters=[_fault(abort=_abort())])
case("fault limits the rate of the answer",
     get(), upstreams={"up": reply(body=b"x" * 20_000)},
     scenario=lambda run: _paced(run),
     filters=[_fault(response_rate_limit={
         "fixed_limit": {"limit_kbps": 40}, "percentage": HUNDRED})])


def _paced(run):
    started = time.monotonic()
    run.send(get("/paced"))
    run.note("took between 0.2 and 1.5 s", 0.2 < time.monotonic() - started < 1.5)


case("fault limits the rate as a header asks",
     get(headers={"x-envoy-fault-throughput-response": "1000"}),
     filters=[_fault(response_rate_limit={"header_limit": {}, "percentage": HUNDRED})])
case("a body arrives whole after a delay",
     post(body=b"x" * 50_000, expect=200),
     filters=[_fault(delay={"fixed_delay": "0.1s", "percentage": HUNDRED})])

# --- local_ratelimit ---

LIMIT = "envoy.filters.http.local_ratelimit"
LIMIT_TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
ALWAYS = {"filter_enabled": {"default_value": HUNDRED},
          "filter_enforced": {"default_value": HUNDRED}}
BUCKET = {"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "3600s"}


def _limit(**config):
    base = {"stat_prefix": "@@rl", "token_bucket": BUCKET, **ALWAYS}
    return http_filter(LIMIT, "local_ratelimit.v3.LocalRateLimit", **{**base, **config})


case("local_ratelimit lets the bucket's tokens pass and no more",
     get(), get(), get(expect=429), get(expect=429), filters=[_limit()],
     expect_stats={"@rl.http_local_rate_limit.rate_limited": 2})
case("local_ratelimit that is not enabled limits nothing",
     get(), get(), get(), filters=[_limit(filter_enabled={"default_value": NEVER})])
case("local_ratelimit without filter_enabled limits nothing",
     get(), get(), get(), filters=[http_filter(LIMIT, "local_ratelimit.v3.LocalRateLimit",
                                               stat_prefix="@@rl", token_bucket=BUCKET)])
case("local_ratelimit that is not enforced only counts",
     get(), get(), get(), filters=[_limit(
         filter_enforced={"default_value": NEVER},
         request_headers_to_add_when_not_enforced=[header_add("x-over", "yes")])],
     expect_stats={"@rl.http_local_rate_limit.rate_limited": 1})
case("local_ratelimit answers with the configured status",
     get(), get(), get(expect=503), filters=[_limit(status={"code": "ServiceUnavailable"})])
case("local_ratelimit's status below 400 becomes 429",
     get(), get(), get(expect=429), filters=[_limit(status={"code": "OK"})])
case("local_ratelimit adds response headers to what it refuses",
     get(), get(), get(expect=429), filters=[_limit(
         response_headers_to_add=[header_add("x-local-rate-limit", "true"),
                                  header_add("x-path", "%REQ(:PATH)%")])])
case("local_ratelimit tells the limits when asked to",
     get(), get(), get(expect=429), filters=[_limit(enable_x_ratelimit_headers="DRAFT_VERSION_03")])
case("local_ratelimit's buckets of two routes are two",
     get("/a"), get("/a", expect=429), get("/b"), get("/b"), get("/b", expect=429), get("/c"),
     get("/c"), get("/c", expect=429), filters=[_limit()],
     routes=[
         {**to("up", prefix("/a")), "typed_per_filter_config": {LIMIT: typed(
             LIMIT_TYPE, stat_prefix="@@rla",
             token_bucket={**BUCKET, "max_tokens": 1}, **ALWAYS)}},
         {**to("up", prefix("/b")), "typed_per_filter_config": {LIMIT: typed(
             LIMIT_TYPE, stat_prefix="@@rlb", token_bucket=BUCKET, **ALWAYS)}},
         to("up")])
case("local_ratelimit per downstream connection counts each connection alone",
     get(on="a"), get(on="a"), get(on="a", expect=429), get(on="b"),
     filters=[_limit(local_rate_limit_per_downstream_connection=True)])
case("local_ratelimit's bucket is filled again",
     scenario=lambda run: _refilled(run),
     filters=[_limit(token_bucket={
         "max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "1s"})])


def _refilled(run):
    run.send(get())
    run.send(get())
    time.sleep(1.5)  # a bucket fills with time, and says nothing of it
    run.send(get())


case("local_ratelimit of zero enforced for some headers by runtime",
     get(), get(), get(), filters=[_limit(filter_enabled={
         "default_value": HUNDRED, "runtime_key": "@@enabled"})], runtime={"@@enabled": 0})
case("local_ratelimit's answer is a gRPC status for a gRPC request",
     get(), get(), get(headers={"content-type": "application/grpc"}, expect=200),
     filters=[_limit()])
case("local_ratelimit's answer can be RESOURCE_EXHAUSTED for a gRPC request",
     get(), get(), get(headers={"content-type": "application/grpc"}, expect=200),
     filters=[_limit(rate_limited_as_resource_exhausted=True)])

# --- header_mutation ---

MUTATION = "envoy.filters.http.header_mutation"
MUTATION_PER_ROUTE = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"


def _mutation(request=(), response=(), **config):
    return http_filter(MUTATION, "header_mutation.v3.HeaderMutation", mutations={
        "request_mutations": list(request), "response_mutations": list(response), **config})


def _append(name, value, action=None):
    return {"append": header_add(name, value, action)}


for _action in ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD",
                "OVERWRITE_IF_EXISTS"):
    case(f"header_mutation with {_action}",
         get(headers={"x-a": "old"}), get(),
         filters=[_mutation([_append("x-a", "new", _action)], [_append("x-b", "new", _action)])],
         upstreams={"up": reply(headers={"x-b": "old"})})
case("header_mutation removes headers",
     get(headers={"x-a": "1", "x-b": "2"}),
     filters=[_mutation([{"remove": "x-a"}], [{"remove": "x-r"}])],
     upstreams={"up": reply(headers={"x-r": "1", "x-s": "2"})})
case("header_mutation works in order",
     get(), filters=[_mutation([_append("x-a", "1"), {"remove": "x-a"}, _append("x-a", "2")])])
case("header_mutation takes substitution operators",
     get("/p?q=5", {"x-in": "v"}),
     filters=[_mutation([_append("x-out", "%REQ(x-in)%-%PROTOCOL%")],
                        [_append("x-code", "%RESPONSE_CODE%")])])
case("header_mutation changes a header that the route matches only when asked again",
     get("/a", expect="plain"), routes=[says("mutated", prefix("/", headers=[
         {"name": "x-late", "present_match": True}])), says("plain")],
     filters=[_mutation([_append("x-late", "1")])])
case("header_mutation of a route is added to the filter's",
     get("/r"), get("/"),
     filters=[_mutation([_append("x-m", "filter")], [_append("x-n", "filter")])],
     routes=[{**to("up", prefix("/r")), "typed_per_filter_config": {MUTATION: typed(
         MUTATION_PER_ROUTE, mutations={"request_mutations": [_append("x-m", "route")],
                                        "response_mutations": [_append("x-n", "route")]})}},
             to("up")])
for _wins in (False, True):
    case("header_mutation at every level with most_specific_header_mutations_wins "
         + str(_wins).lower(),
         get(),
         filters=[http_filter(MUTATION, "header_mutation.v3.HeaderMutation",
                              mutations={"request_mutations": [
                                  _append("x-m", "filter", "OVERWRITE_IF_EXISTS_OR_ADD")]},
                              most_specific_header_mutations_wins=_wins)],
         vhosts=[vhost({**to("up"), "typed_per_filter_config": {MUTATION: typed(
             MUTATION_PER_ROUTE, mutations={"request_mutations": [
                 _append("x-m", "route", "OVERWRITE_IF_EXISTS_OR_ADD"),
                 _append("x-o", "route")]})}},
             typed_per_filter_config={MUTATION: typed(MUTATION_PER_ROUTE, mutations={
                 "request_mutations": [_append("x-m", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD"),
                                       _append("x-o", "vhost")]})})],
         route_config={"typed_per_filter_config": {MUTATION: typed(
             MUTATION_PER_ROUTE, mutations={"request_mutations": [
                 _append("x-m", "config", "OVERWRITE_IF_EXISTS_OR_ADD"),
                 _append("x-o", "config")]})}})
case("header_mutation changes local replies on their way out",
     get(expect=503), routes=[says("no", status=503)],
     filters=[_mutation(response=[_append("x-local", "yes")])])
# --- health_check ---


def _health(target="/healthz", **config):
    match = [{"name": ":path", "string_match": {"exact": target}}]
    return http_filter("envoy.filters.http.health_check", "health_check.v3.HealthCheck",
                       **{"pass_through_mode": False, "headers": match, **config})


case("health_check answers by itself",
     get("/healthz"), get("/healthz?x"), get("/other"), req("HEAD", "/healthz"),
     filters=[_health()])
case("health_check that passes through forwards and marks the answer",
     get("/healthz"), get("/other"), filters=[_health(pass_through_mode=True)])
case("health_check with a cache asks upstream once",
     get("/healthz"), get("/healthz"), get("/healthz"),
     filters=[_health(pass_through_mode=True, cache_time="60s")])
case("health_check with a cache remembers a failure",
     get("/healthz", expect=503), get("/healthz", expect=503),
     filters=[_health(pass_through_mode=True, cache_time="60s")],
     upstreams={"up": reply(503, b"sick")})
case("health_check asks for enough healthy endpoints",
     get("/healthz", expect=503), get("/other"),
     filters=[_health(cluster_min_healthy_percentages={"@@empty": {"value": 50}})],
     clusters={"up": {}, "empty": {"endpoints": []}})
case("health_check is content with enough healthy endpoints",
     get("/healthz"),
     filters=[_health(cluster_min_healthy_percentages={"@@up": {"value": 100}})])
case("health_check asks for nothing of an empty cluster with a percentage of zero",
     get("/healthz"),
     filters=[_health(cluster_min_healthy_percentages={"@@empty": {"value": 0}})],
     clusters={"up": {}, "empty": {"endpoints": []}})
case("health_check's headers must all match",
     get("/healthz", {"x-check": "1"}), get("/healthz"),
     filters=[_health(headers=[{"name": ":path", "string_match": {"exact": "/healthz"}},
                               {"name": "x-check", "present_match": True}])],
     routes=[says("not a check")])

# --- buffer ---

BUFFER = "envoy.filters.http.buffer"
BUFFER_PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"


def _buffer(limit):
    return http_filter(BUFFER, "buffer.v3.Buffer", max_request_bytes=limit)


def _in_chunks(*parts, expect=200):
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
    return req("POST", "/", {"transfer-encoding": "chunked"}, body, expect)


case("buffer lets a body of exactly its limit pass",
     post(body=b"x" * 1000), filters=[_buffer(1000)])
case("buffer refuses a body of one byte more",
     post(body=b"x" * 1001, expect=413), filters=[_buffer(1000)])
case("buffer turns chunks into a length",
     _in_chunks(b"abc", b"defg"), filters=[_buffer(1000)])
case("buffer refuses chunks that are too many",
     _in_chunks(*[b"x" * 100] * 12, expect=413), filters=[_buffer(1000)])
case("buffer leaves a request without a body alone", get(), req("POST", "/"), filters=[_buffer(10)])
case("a route can turn buffer off or give it another limit",
     req("POST", "/off", {"transfer-encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"),
     post("/more", b"x" * 50), post("/", b"x" * 50, expect=413),
     filters=[_buffer(10)],
     routes=[
         {**to("up", prefix("/off")), "typed_per_filter_config": {
             BUFFER: typed(BUFFER_PER_ROUTE, disabled=True)}},
         {**to("up", prefix("/more")), "typed_per_filter_config": {
             BUFFER: typed(BUFFER_PER_ROUTE, buffer={"max_request_bytes": 100})}},
         to("up")])
case("the body's end is waited for before anything is forwarded",
     filters=[_buffer(1000)], scenario=lambda run: _held_back(run))


def _held_back(run):
    with run.connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nda")
        run.proxy.wait_stat(f"http.{run.case.tag}.downstream_rq_active", 1)
        run.note("requests upstream before the end", len(run.upstreams["up"].requests))
        connection.send(b"ta")
        run.record(connection, "POST")


# --- typed_per_filter_config at every level, FilterConfig, disabled filters ---

FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"


def _status_by(level):
    return typed(FAULT_TYPE, abort=_abort({"weighted": 410, "route": 411, "vhost": 412,
                                           "config": 413}[level]))


case("per-filter configuration of the weighted cluster wins over route, virtual host and config",
     get("/w", expect=410), get("/r", expect=411), get("/v", expect=412),
     get("/c", host="other", expect=413),
     filters=[_fault()],
     vhosts=[
         vhost({**to(None, prefix("/w"), weighted_clusters={"clusters": [{
             "name": "@@up", "weight": 1,
             "typed_per_filter_config": {FAULT: _status_by("weighted")}}]}),
             "typed_per_filter_config": {FAULT: _status_by("route")}},
             {**to("up", prefix("/r")), "typed_per_filter_config": {FAULT: _status_by("route")}},
             to("up"), domains=["test.example"],
             typed_per_filter_config={FAULT: _status_by("vhost")}),
         vhost(to("up"), name="other", domains=["*"])],
     route_config={"typed_per_filter_config": {FAULT: _status_by("config")}})
case("FilterConfig can disable a filter for a route",
     get("/off"), get("/", expect=503), filters=[_fault(abort=_abort())],
     routes=[{**to("up", prefix("/off")), "typed_per_filter_config": {
         FAULT: typed(FILTER_CONFIG, disabled=True)}}, to("up")])
case("FilterConfig can carry a filter's configuration",
     get("/own", expect=418), get("/"), filters=[_fault()],
     routes=[{**to("up", prefix("/own")), "typed_per_filter_config": {
         FAULT: typed(FILTER_CONFIG, config=typed(FAULT_TYPE, abort=_abort(418)))}}, to("up")])
case("a filter that is disabled in the chain does nothing",
     get(), filters=[{**_fault(abort=_abort()), "disabled": True}])
case("a filter that is disabled in the chain can be enabled for a route",
     get("/on", expect=503), get("/own", expect=418), get("/"),
     filters=[{**_fault(abort=_abort()), "disabled": True}],
     routes=[{**to("up", prefix("/on")), "typed_per_filter_config": {
         FAULT: typed(FILTER_CONFIG, config={})}},
         {**to("up", prefix("/own")), "typed_per_filter_config": {
             FAULT: typed(FAULT_TYPE, abort=_abort(418))}}, to("up")])
case("FilterConfig of the virtual host disables and the route's own enables again",
     get("/on", expect=418), get("/"), filters=[_fault(abort=_abort())],
     vhosts=[vhost({**to("up", prefix("/on")), "typed_per_filter_config": {
         FAULT: typed(FAULT_TYPE, abort=_abort(418))}}, to("up"),
         typed_per_filter_config={FAULT: typed(FILTER_CONFIG, disabled=True)})])
case("per-filter configuration goes by the filter's name in the chain",
     get(expect=418), filters=[{**_fault(), "name": "my-fault"}],
     routes=[{**to("up"), "typed_per_filter_config": {
         "my-fault": typed(FAULT_TYPE, abort=_abort(418))}}])
case("two filters of one type have configurations of their own",
     get(), filters=[
         {**_mutation([_append("x-m", "one")]), "name": "one"},
         {**_mutation([_append("x-m", "two")]), "name": "two"}],
     routes=[{**to("up"), "typed_per_filter_config": {
         "two": typed(MUTATION_PER_ROUTE, mutations={
             "request_mutations": [_append("x-m", "route two")]})}}])
case("filters run in the configured order on the way in and backwards on the way out",
     get(), filters=[
         {**_mutation([_append("x-in", "one")], [_append("x-out", "one")]), "name": "one"},
         {**_mutation([_append("x-in", "two")], [_append("x-out", "two")]), "name": "two"}])
case("a filter before an abort sees its answer and a filter behind it does not",
     get(expect=503), filters=[
         {**_mutation(response=[_append("x-out", "before")]), "name": "before"},
         _fault(abort=_abort()),
         {**_mutation(response=[_append("x-out", "behind")]), "name": "behind"}])
