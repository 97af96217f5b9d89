"""Clusters: kinds, balancing and pools."""

from harness.upstream import reply

from ..model import case, get, prefix, to

THREE = {"up": {"endpoints": ["a", "b", "c"]}}
BODIES = {name: reply(body=name.encode()) for name in "abc"}


def _counts(number, **expected):
    """Sends `number` requests and notes how many each endpoint got."""

    def scenario(run):
        for index in range(number):
            with run.connect() as connection:
                connection.send(get(f"/{index}").data)
                connection.read_response()
        for name, upstream in sorted(run.upstreams.items()):
            run.note(f"requests of {name}", len(upstream.requests))

    return scenario


def _all_reached(number):
    """Sends `number` requests; each endpoint gets some."""

    def scenario(run):
        for index in range(number):
            with run.connect() as connection:
                connection.send(get(f"/{index}").data)
                connection.read_response()
        for upstream in run.upstreams.values():
            run.note("reached", bool(upstream.requests))
            upstream.requests.clear()

    return scenario


def _weighted(policy, *weights):
    endpoints = [{"endpoint": {"address": {"socket_address": {
        "address": "127.0.0.1", "port_value": f"@@port:{name}"}}}, "load_balancing_weight": weight}
        for name, weight in zip("abc", weights)]
    return {"up": {"endpoints": ["a", "b", "c"], "lb_policy": policy, "load_assignment": {
        "endpoints": [{"lb_endpoints": endpoints}]}}}


case("ROUND_ROBIN gives each endpoint the same number",
     scenario=_counts(30), clusters=THREE, upstreams=BODIES, by_chance="^(upstream|log)")
case("ROUND_ROBIN goes by weight",
     scenario=_counts(60), clusters=_weighted("ROUND_ROBIN", 1, 2, 3), upstreams=BODIES,
     by_chance="^(upstream|log)")
case("LEAST_REQUEST reaches every endpoint",
     scenario=_all_reached(60), clusters={"up": {**THREE["up"], "lb_policy": "LEAST_REQUEST"}},
     upstreams=BODIES, by_chance=" upstream: ")
case("LEAST_REQUEST takes a choice count",
     scenario=_all_reached(60), clusters={"up": {
         **THREE["up"], "lb_policy": "LEAST_REQUEST",
         "least_request_lb_config": {"choice_count": 3}}}, upstreams=BODIES,
     by_chance=" upstream: ")
case("RANDOM reaches every endpoint",
     scenario=_all_reached(90), clusters={"up": {**THREE["up"], "lb_policy": "RANDOM"}},
     upstreams=BODIES, by_chance=" upstream: ")
case("a STRICT_DNS cluster finds localhost",
     get(), clusters={"up": {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY",
                             "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
                                 "address": {"socket_address": {
                                     "address": "localhost",
                                     "port_value": "@@port:up"}}}}]}]}}})
case("a LOGICAL_DNS cluster finds localhost",
     get(), clusters={"up": {"type": "LOGICAL_DNS", "dns_lookup_family": "V4_ONLY",
                             "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
                                 "address": {"socket_address": {
                                     "address": "localhost",
                                     "port_value": "@@port:up"}}}}]}]}}})
case("an endpoint that is marked unhealthy gets nothing",
     get(expect="b"), get(expect="b"), clusters={"up": {
         "endpoints": ["a", "b"],
         "load_assignment": {"endpoints": [{"lb_endpoints": [
             {"endpoint": {"address": {"socket_address": {
                 "address": "127.0.0.1", "port_value": "@@port:a"}}}, "health_status": "UNHEALTHY"},
             {"endpoint": {"address": {"socket_address": {
                 "address": "127.0.0.1", "port_value": "@@port:b"}}}}]}]}}}, upstreams=BODIES)
case("a second priority serves when the first has no healthy endpoint",
     get(expect="b"), get(expect="b"), clusters={"up": {
         "endpoints": ["a", "b"],
         "load_assignment": {"endpoints": [
             {"priority": 0, "lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                 "address": "127.0.0.1", "port_value": "@@port:a"}}},
                 "health_status": "UNHEALTHY"}]},
             {"priority": 1, "lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                 "address": "127.0.0.1", "port_value": "@@port:b"}}}}]}]}}}, upstreams=BODIES)
case("alt_stat_name renames a cluster's statistics",
     get(), clusters={"up": {"alt_stat_name": "@@other_name"}})
case("several clusters are told apart",
     get("/a", expect="a"), get("/b", expect="b"), get("/c", expect="c"),
     routes=[to(name, prefix(f"/{name}")) for name in "abc"],
     clusters={name: {} for name in "abc"}, upstreams=BODIES)
case("happy eyeballs takes the address that answers",
     get(), clusters={"up": {"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
         "address": {"socket_address": {"address": "127.0.0.1", "port_value": "@@port:gone"}},
         "additional_addresses": [{"address": {"socket_address": {
             "address": "127.0.0.1", "port_value": "@@port:up"}}}]}}]}]}}},
     upstreams={"gone": "refused"})
