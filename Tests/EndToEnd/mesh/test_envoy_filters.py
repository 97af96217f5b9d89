"""EnvoyFilters: what they change in the configuration of the proxies that they select, and what those then do."""

import json

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.waiting import until

from .test_authorization import House
from .test_rules import SUBSETS, Town, rule

pytestmark = pytest.mark.unsanitized("sanitizers have seen these filters without a control plane")

MANAGER = "filter: {name: envoy.filters.network.http_connection_manager"
TYPES = "type.googleapis.com/envoy.extensions.filters.http."


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def town(request, tmp_path_factory):
    """One for all tests of a kind of proxy."""
    made = Town(request.param, tmp_path_factory.mktemp("town"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def nothing_refused(town):
    """No proxy refuses anything, whatever a test writes."""
    yield
    assert sum(town.proxy.stats("update_rejected").values()) == 0, town.control.output()[-3000:]


def envoy_filter(patches, name="a", selector="{app: client}"):
    """An EnvoyFilter."""
    return f"""---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}}}
spec:
  workloadSelector: {{labels: {selector}}}
  configPatches: {patches}
"""


def http_filter(name, config, operation="INSERT_BEFORE"):
    """A patch that puts an HTTP filter before the router of a port."""
    return f"""
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_OUTBOUND
      listener: {{portNumber: 9080, filterChain: {{{MANAGER},
        subFilter: {{name: envoy.filters.http.router}}}}}}}}
    patch:
      operation: {operation}
      value: {{name: {name}, typed_config: {config}}}
"""


def mutation(field):
    """The configuration of a filter that adds a field to requests."""
    return (f"{{'@type': {TYPES}header_mutation.v3.HeaderMutation, mutations: {{request_mutations: "
            f"[{{append: {{header: {{key: {field}, value: added}}}}}}]}}}}")


LUA = (f"{{'@type': {TYPES}lua.v3.Lua, default_source_code: {{inline_string: "
       "'function envoy_on_response(h) h:headers():add(\"x-lua\", \"yes\") end'}}")

PATCHES = http_filter("mutate", mutation("x-patched")) + http_filter("lua", LUA) + """
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {service: reviews.default.svc.cluster.local}}
    patch: {operation: MERGE, value: {connect_timeout: 7.5s}}
  - applyTo: CLUSTER
    patch: {operation: ADD, value: {name: mine, type: STATIC, connect_timeout: 1s}}
  - applyTo: HTTP_ROUTE
    match: {routeConfiguration: {name: "9080", vhost: {name: "reviews.default.svc.cluster.local:9080"}}}
    patch:
      operation: INSERT_FIRST
      value: {match: {path: /patched}, direct_response: {status: 418, body: {inline_string: tea}}}
  - applyTo: HTTP_ROUTE
    match: {routeConfiguration: {vhost: {name: "reviews.default.svc.cluster.local:9080", route: {name: named}}}}
    patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x-route, value: merged}}]}}
  - applyTo: HTTP_FILTER
    match: {listener: {filterChain: {%s, subFilter: {name: envoy.filters.http.fault}}}}}
    patch: {operation: REMOVE}
""" % MANAGER

RULES = SUBSETS + rule("- {name: named, route: [{destination: {host: reviews, subset: v1}}]}")


def configuration(town):
    """The listeners that the proxy says it has."""
    return town.proxy.admin("/config_dump?resource=dynamic_listeners").body.decode()


def clusters(town):
    """Its clusters, by name."""
    dump = json.loads(town.proxy.admin("/config_dump?resource=dynamic_active_clusters").body)
    return {one["cluster"]["name"]: one["cluster"] for one in dump["configs"]}


def unsupported(town):
    """What the control plane left out for the proxy."""
    return json.loads(town.control.get("/debug/syncz"))[0]["unsupported"]


def test_every_part_of_a_configuration(town):
    """A filter before the router, clusters, routes, and a filter less; then all as it was."""
    town.apply(RULES)
    until(lambda: town.answers() == {"v1"}, 10, "the rule")
    assert "envoy.filters.http.fault" in configuration(town)
    town.apply(RULES + envoy_filter(PATCHES))
    until(lambda: town.get("/patched").status == 418, 10, "the route")
    assert town.get("/patched").body == b"tea"
    answer = town.get("/")
    assert answer.body == b"v1"
    assert town.seen("v1")[2].get("x-patched") == "added"
    assert answer.value("x-route") == "merged"
    found = clusters(town)
    name = "outbound|9080||reviews.default.svc.cluster.local"
    other = "outbound|9080||ratings.default.svc.cluster.local"
    timeouts = [float(found[one]["connect_timeout"].rstrip("s")) for one in (name, other)]
    assert timeouts[0] == 7.5 != timeouts[1]
    assert "mine" in found
    until(lambda: "envoy.filters.http.fault" not in configuration(town), 10, "a filter less")
    notes = unsupported(town)
    dump = town.control.get("/debug/config_dump?proxyID=client.default")
    assert ("envoy_on_response" in dump) == (town.kind == "envoy")
    if town.kind == "envoy":
        assert answer.value("x-lua") == "yes"
        assert notes == []
    else:
        assert answer.value("x-lua") is None
        assert len(notes) == 1 and "EnvoyFilter default/a: configPatches[1]" in notes[0], notes
        assert "envoy.extensions.filters.http.lua.v3.Lua' is known to Envoy" in notes[0], notes

    town.apply(RULES + envoy_filter(PATCHES, selector="{app: somebody-else}"))
    until(lambda: town.get("/patched").status == 200, 10, "no patch")
    until(lambda: "mine" not in clusters(town), 10, "no cluster of ours")
    town.get("/")
    assert "x-patched" not in town.seen("v1")[2]
    assert unsupported(town) == []


def test_what_comes_to_a_workload(town, tmp_path):
    """A bound on requests, routes in a listener, and the cluster of a service's own port."""
    house = House(town.kind, tmp_path)
    try:
        limit = (f"{{'@type': {TYPES}local_ratelimit.v3.LocalRateLimit, stat_prefix: l, token_bucket: "
                 "{max_tokens: 2, fill_interval: 3600s}, filter_enabled: {default_value: "
                 "{numerator: 100}}, filter_enforced: {default_value: {numerator: 100}}}")
        house.control.apply("patches.yaml", envoy_filter(f"""
  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{{MANAGER}}}}}}}}}
    patch: {{operation: INSERT_FIRST, value: {{name: limit, typed_config: {limit}}}}}
  - applyTo: VIRTUAL_HOST
    match: {{routeConfiguration: {{portNumber: 9080}}}}
    patch: {{operation: MERGE, value: {{routes: [], response_headers_to_add: [
      {{header: {{key: x-inbound, value: merged}}}}]}}}}
  - applyTo: CLUSTER
    match: {{context: SIDECAR_INBOUND, cluster: {{service: shop.default.svc.cluster.local}}}}
    patch: {{operation: MERGE, value: {{connect_timeout: 7.5s}}}}
""", selector="{app: shop}"))
        house.becomes(429)
        found = {name: float(one["connect_timeout"].rstrip("s"))
                 for name, one in clusters(house).items()}
        assert found["inbound|9080||"] == 7.5, found
        answer = fetch(9080, "/", host="shop", address=house.address)
        assert answer.value("x-inbound") == "merged"
        assert sum(house.proxy.stats("update_rejected").values()) == 0
        assert unsupported(house) == []
        dump = house.control.get("/debug/config_dump?proxyID=shop-1.default")
        assert "local_ratelimit.v3.LocalRateLimit" in dump
    finally:
        house.stop()


def test_a_mistake_has_its_place(town):
    """A bad one is told with line, field and the nearest name; the last good one and the others stand."""
    good = envoy_filter(http_filter("mutate", mutation("x-good")))
    town.apply(RULES + good + envoy_filter(http_filter("other", mutation("x-other")), "b"))
    until(lambda: town.get("/") and town.seen("v1")[2].get("x-good") == "added", 10, "the patch")
    bad = envoy_filter(http_filter("mutate", mutation("x-bad").replace("append:", "apend:")))
    town.apply(RULES + bad + envoy_filter(http_filter("other", mutation("x-third")), "b"))
    until(lambda: town.get("/") and town.seen("v1")[2].get("x-third") == "added", 10, "the other")
    assert town.seen("v1")[2].get("x-good") == "added"
    page = town.control.get("/debug/configz")
    assert ("spec.configPatches[0].patch.value.typed_config.mutations.request_mutations[0].apend: "
            "no such field in envoy.config.common.mutation_rules.v3.HeaderMutation; did you mean "
            "'append'?") in page, page[-3000:]


def by_name(kind, config):
    """A filter that takes a configuration of a kind by its name, and that configuration."""
    return f"""
  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_OUTBOUND, listener: {{portNumber: 9080}}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: mine
        config_discovery:
          config_source: {{ads: {{}}, resource_api_version: V3, initial_fetch_timeout: 5s}}
          type_urls: [{TYPES}{kind}]
  - applyTo: EXTENSION_CONFIG
    patch: {{operation: ADD, value: {{name: mine, typed_config: {config}}}}}
"""


def test_a_filter_that_takes_its_configuration_by_name(town):
    """What a filter asks for is served on the same stream, and follows changes; when it becomes another kind
    of filter, or goes, connections that are open keep what they had."""
    town.apply(RULES)
    until(lambda: town.answers() == {"v1"}, 10, "the rule")
    kind = "header_mutation.v3.HeaderMutation"
    for field in "x-first", "x-second":
        town.apply(RULES + envoy_filter(by_name(kind, mutation(field))))
        until(lambda wanted=field: town.get("/") and town.seen("v1")[2].get(wanted) == "added",
              10, field)
    if town.kind == "envoy":
        # It refuses another kind of filter by a name that a draining listener still has.
        return
    with Connection(9080, town.client) as kept, Connection(9080, town.client) as other:
        for one in kept, other:
            one.send(request_bytes(host="reviews"))
            assert one.read_response().status == 200
        fault = (f"{{'@type': {TYPES}fault.v3.HTTPFault, "
                 "abort: {http_status: 418, percentage: {numerator: 100}}}")
        town.apply(RULES + envoy_filter(by_name("fault.v3.HTTPFault", fault)))
        until(lambda: town.get("/").status == 418, 10, "the other filter")
        town.apply(RULES)
        until(lambda: town.get("/").status == 200, 10, "the filter to go")
        for one in kept, other:
            one.send(request_bytes(host="reviews"))
            assert one.read_response().status == 200
            assert town.seen("v1")[2].get("x-second") == "added"
