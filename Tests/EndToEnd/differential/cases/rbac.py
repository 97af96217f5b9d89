"""The `rbac` filter: every permission and principal, what is counted, noted and answered."""

import ssl

from harness.client import request_bytes
from harness.tls import TLSConnection, downstream_tls

from ..model import case, get, http_filter, path, prefix, says, to, typed
from .tls import AUTHORITY, CLIENT, SERVER

NAME = "envoy.filters.http.rbac"
TYPE = "envoy.extensions.filters.http.rbac.v3.RBAC"
ANY = {"any": True}
NEVER = {"not_rule": ANY}
LOG = {f"{kind} {key}": f"%DYNAMIC_METADATA({NAME}:{prefix}{key})%"
       for kind, prefix in (("enforced", ""), ("prefixed", "p_"))
       for key in ("enforced_effective_policy_id", "enforced_engine_result",
                   "shadow_effective_policy_id", "shadow_engine_result")}
LOG["hint"] = "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"


def _policy(permission=None, principal=None):
    return {"permissions": [permission or ANY], "principals": [principal or ANY]}


def _rules(action="ALLOW", **policies):
    return {"action": action, "policies": policies}


def _filter(**config):
    return http_filter(NAME, "rbac.v3.RBAC", **config)


def _allows(name, permission=None, principal=None, yes=(), no=(), **parts):
    """A policy that lets `yes` through and nothing of `no`; as DENY the other way round."""
    policy = _policy(permission, principal)
    for action, passing, refused in (("ALLOW", yes, no), ("DENY", no, yes)):
        steps = [get(expect=200, **one) for one in passing]
        steps += [get(expect=403, **one) for one in refused]
        case(f"rbac {action}: {name}", *steps, filters=[_filter(rules=_rules(action, p=policy))],
             log=LOG, **parts)


def _at(target="/", **headers):
    return {"target": target, "headers": {k.replace("_", "-"): v for k, v in headers.items()}}


def _host(host):
    return {"host": host}


# --- what is asked for, and by whom, as the request says ---

_allows("any", yes=[_at()])
for _place in ("permission", "principal"):
    _allows(f"a {_place}'s header is exact", **{_place: {
        "header": {"name": "x-who", "string_match": {"exact": "me"}}}},
            yes=[_at(x_who="me")], no=[_at(x_who="Me"), _at()])
    _allows(f"a {_place}'s path, without its query", **{_place: {
        "url_path": {"path": {"exact": "/a"}}}},
            yes=[_at("/a"), _at("/a?b=c"), _at("/a?/b")], no=[_at("/a/"), _at("/"), _at("/A")])
    _allows(f"a {_place}'s path by prefix, in any case", **{_place: {
        "url_path": {"path": {"prefix": "/Api", "ignore_case": True}}}},
            yes=[_at("/api/x"), _at("/APIs")], no=[_at("/ap"), _at("/x/api")])
    _allows(f"a {_place}'s method", **{_place: {
        "header": {"name": ":method", "string_match": {"exact": "POST"}}}}, no=[_at()])
    _allows(f"a {_place}'s authority", **{_place: {
        "header": {"name": ":authority", "string_match": {
            "safe_regex": {"regex": "(?i)a\\.example(:.*)?"}}}}},
            yes=[_host("a.example"), _host("A.example:80")], no=[_host("b.example")])
    _allows(f"a {_place}'s header is there", **{_place: {
        "header": {"name": "x-who", "present_match": True}}}, yes=[_at(x_who="")], no=[_at()])
    _allows(f"a {_place}'s header is not there", **{_place: {
        "header": {"name": "x-who", "present_match": True, "invert_match": True}}},
            yes=[_at()], no=[_at(x_who="a")])
    _set, _list, _not = (("_rules", "rules", "not_rule") if _place == "permission"
                         else ("_ids", "ids", "not_id"))
    _two = [{"header": {"name": "x-a", "present_match": True}},
            {"header": {"name": "x-b", "present_match": True}}]
    _allows(f"{_place}s: all of them", **{_place: {"and" + _set: {_list: _two}}},
            yes=[_at(x_a="1", x_b="1")], no=[_at(x_a="1"), _at(x_b="1"), _at()])
    _allows(f"{_place}s: one of them", **{_place: {"or" + _set: {_list: _two}}},
            yes=[_at(x_a="1", x_b="1"), _at(x_a="1"), _at(x_b="1")], no=[_at()])
    _allows(f"{_place}s: not it", **{_place: {_not: _two[0]}},
            yes=[_at(), _at(x_b="1")], no=[_at(x_a="1")])
    _allows(f"{_place}s in each other", **{_place: {"and" + _set: {_list: [
        {_not: {"or" + _set: {_list: [_two[0], {"and" + _set: {_list: _two}}]}}},
        {"or" + _set: {_list: [_two[1], {"url_path": {"path": {"prefix": "/open"}}}]}}]}}},
            yes=[_at(x_b="1"), _at("/open")], no=[_at(), _at("/open", x_a="1"), _at(x_a="1")])
    # Another filter's notes: a first one's shadow rules say what the second one reads.
    for _name, _value, _fits in (
            ("exact", {"string_match": {"exact": "denied"}}, True),
            ("another", {"string_match": {"exact": "allowed"}}, False),
            ("present", {"present_match": True}, True),
            ("not present", {"present_match": False}, False),
            ("a flag", {"bool_match": True}, False), ("null", {"null_match": {}}, False),
            ("a number", {"double_match": {"exact": 1}}, False),
            ("a list", {"list_match": {"one_of": {"string_match": {"exact": "denied"}}}}, False),
            ("one of", {"or_match": {"value_matchers": [
                {"list_match": {"one_of": {"string_match": {"exact": "denied"}}}},
                {"string_match": {"suffix": "nied"}}]}}, True)):
        for _invert in (False, True):
            for _keys, _there in ((["shadow_engine_result"], True), (["nothing"], False),
                                  (["shadow_engine_result", "deeper"], False)):
                _matcher = {"filter": NAME, "path": [{"key": key} for key in _keys],
                            "value": _value, "invert": _invert}
                _passes = (_there and _fits) != _invert
                case(f"rbac: a {_place}'s metadata {_keys} is {_name}"
                     + (", inverted" if _invert else ""),
                     get(expect=200 if _passes else 403),
                     filters=[_filter(shadow_rules=_rules("DENY", s=_policy())),
                              _filter(rules=_rules(p=_policy(**{
                                  _place: {"metadata": _matcher} if _invert else {
                                      "sourced_metadata": {
                                          "metadata_matcher": _matcher,
                                          "metadata_source": "DYNAMIC"}}})))])
case("rbac: the hint is a flag that the next filter reads",
     get("/yes"), get("/no", expect=403), log=LOG,
     filters=[_filter(rules=_rules("LOG", p=_policy(
         {"url_path": {"path": {"exact": "/yes"}}}))),
              _filter(rules=_rules(p=_policy({"metadata": {
                  "filter": "envoy.common", "path": [{"key": "access_log_hint"}],
                  "value": {"bool_match": True}}})))])

# --- addresses ---

_HERE = {"address_prefix": "127.0.0.0", "prefix_len": 8}
_ALL = {"address_prefix": "0.0.0.0", "prefix_len": 0}
_ELSEWHERE = {"address_prefix": "10.0.0.0", "prefix_len": 8}
_SIX = {"address_prefix": "::", "prefix_len": 0}
for _key in ("source_ip", "direct_remote_ip", "remote_ip"):
    _allows(f"{_key} is here", principal={_key: _HERE}, yes=[_at()])
    _allows(f"{_key} is anywhere", principal={_key: _ALL}, yes=[_at()])
    _allows(f"{_key} without a length", principal={_key: {"address_prefix": "10.0.0.1"}},
            yes=[_at()])
    _allows(f"{_key} is elsewhere", principal={_key: _ELSEWHERE}, no=[_at()])
    _allows(f"{_key} is IPv6", principal={_key: _SIX}, no=[_at()])
    _believed = _key == "remote_ip"
    _allows(f"{_key} behind a proxy", principal={_key: _ELSEWHERE},
            hcm={"use_remote_address": True, "xff_num_trusted_hops": 1},
            **{"yes" if _believed else "no": [_at(x_forwarded_for="10.1.2.3")]})
_allows("destination_ip is here", {"destination_ip": _HERE}, yes=[_at()])
_allows("destination_ip is elsewhere", {"destination_ip": _ELSEWHERE}, no=[_at()])
_allows("destination_port is ours", {"destination_port": "@@port"}, yes=[_at()])
_allows("destination_port is another", {"destination_port": 1}, no=[_at()])
_allows("destination_port_range", {"destination_port_range": {"start": 1, "end": 65536}},
        yes=[_at()])
_allows("a range ends before its end", {"destination_port_range": {"start": 1, "end": "@@port"}},
        no=[_at()])

# --- what becomes of it ---

case("rbac: the first policy by name is named", get(expect=403), log=LOG,
     filters=[_filter(rules=_rules("DENY", **{"b": _policy(), "a b": _policy(), "Z": _policy(NEVER)}))],
     expect_log={"details": "rbac_access_denied_matched_policy[a_b]"})
case("rbac: no policy matched", get(expect=403), log=LOG,
     filters=[_filter(rules=_rules(a=_policy(NEVER)))],
     expect_log={"details": "rbac_access_denied_matched_policy[none]", "flags": "-"})
case("rbac: rules without policies", get(expect=403), filters=[_filter(rules={})], log=LOG)
case("rbac: DENY without policies", get(), filters=[_filter(rules=_rules("DENY"))], log=LOG)
case("rbac without rules", get(), filters=[_filter()], log=LOG)
case("rbac: a policy without a name", get(expect=403), log=LOG,
     filters=[_filter(rules=_rules("DENY", **{"": _policy()}), track_per_rule_stats=True)])
case("rbac: LOG lets everything through", get("/a"), get("/b"), log=LOG,
     filters=[_filter(rules=_rules("LOG", p=_policy({"url_path": {"path": {"exact": "/a"}}})))])
case("rbac: LOG as a shadow leaves no hint", get(), log=LOG,
     filters=[_filter(shadow_rules=_rules("LOG", p=_policy()))])
case("rbac: shadow rules change nothing", get("/a"), get("/b", expect=403), log=LOG,
     filters=[_filter(rules=_rules(p=_policy({"url_path": {"path": {"exact": "/a"}}})),
                      shadow_rules=_rules("DENY", q=_policy()))],
     expect_stats={"http.@.rbac.allowed": 1, "http.@.rbac.denied": 1,
                   "http.@.rbac.shadow_denied": 2})
case("rbac: prefixes of statistics and notes", get("/a"), get("/b", expect=403), log=LOG,
     filters=[_filter(rules=_rules(p=_policy({"url_path": {"path": {"exact": "/a"}}})),
                      rules_stat_prefix="p_", shadow_rules_stat_prefix="p_",
                      shadow_rules=_rules("DENY", q=_policy()))],
     expect_stats={"http.@.rbac.p_.allowed": 1, "http.@.rbac.p_.shadow_denied": 2})
case("rbac: each rule is counted", get("/a"), get("/b"), get("/c", expect=403), log=LOG,
     filters=[_filter(
         rules=_rules(a=_policy({"url_path": {"path": {"exact": "/a"}}}),
                      b=_policy({"url_path": {"path": {"exact": "/b"}}})),
         shadow_rules=_rules("DENY", **{"s t": _policy({"url_path": {"path": {"exact": "/b"}}})}),
         shadow_rules_stat_prefix="p_", track_per_rule_stats=True)],
     expect_stats={"http.@.rbac.policy.a.allowed": 1, "http.@.rbac.policy.b.allowed": 1,
                   "http.@.rbac.p_.policy.s t.shadow_denied": 1})
case("rbac: DENY, then ALLOW, as Istio lays them out",
     get("/a"), get("/b", expect=403), get("/secret/a", expect=403), log=LOG,
     filters=[_filter(rules=_rules("DENY", **{"ns[foo]-policy[no]-rule[0]": _policy(
         {"url_path": {"path": {"prefix": "/secret"}}})})),
              _filter(rules=_rules(**{"ns[foo]-policy[yes]-rule[0]": _policy(
                  {"or_rules": {"rules": [{"url_path": {"path": {"suffix": "/a"}}}]}})}))])
case("rbac refuses a gRPC call in gRPC's words",
     get(headers={"content-type": "application/grpc"}, expect=200), log=LOG,
     filters=[_filter(rules=_rules())])
_OWN = typed(TYPE + "PerRoute", rbac={"rules": _rules("DENY", own=_policy())})
_NONE = typed(TYPE + "PerRoute")
case("a route's rbac replaces the filter's, or switches it off",
     get("/own", expect=403), get("/none"), get("/empty"), get("/", expect=403), log=LOG,
     filters=[_filter(rules=_rules("DENY", all=_policy()))],
     routes=[{**to("up", path("/own")), "typed_per_filter_config": {NAME: _OWN}},
             {**to("up", path("/none")), "typed_per_filter_config": {NAME: _NONE}},
             {**to("up", path("/empty")), "typed_per_filter_config": {
                 NAME: typed(TYPE + "PerRoute", rbac={})}},
             to("up")])
case("a route's rbac notes under its own prefixes and counts among the filter's",
     get("/own"), get("/"), log=LOG,
     filters=[_filter(rules=_rules(p=_policy()), rules_stat_prefix="q_")],
     routes=[{**says("own", prefix("/own")), "typed_per_filter_config": {NAME: typed(
         TYPE + "PerRoute", rbac={
             "rules": _rules(own=_policy()), "rules_stat_prefix": "p_",
             "shadow_rules": _rules("DENY", own=_policy()), "shadow_rules_stat_prefix": "p_"})}},
             to("up")],
     expect_stats={"http.@.rbac.q_.allowed": 2, "http.@.rbac.shadow_denied": 1})
case("a route's rbac counts its own policies",
     get(), log=LOG, filters=[_filter(rules=_rules(p=_policy()))],
     routes=[{**to("up"), "typed_per_filter_config": {NAME: typed(
         TYPE + "PerRoute", rbac={"rules": _rules(own=_policy()), "track_per_rule_stats": True})}}],
     expect_stats={"http.@.rbac.policy.own.allowed": 1})

# --- who asks, as a certificate says ---

PLAIN_NAME = AUTHORITY.issue("plain-name")
DNS_ONLY = AUTHORITY.issue("dns-only", "DNS:a.example,DNS:b.example")
TWO_URIS = AUTHORITY.issue(
    "two-uris", "URI:spiffe://mesh/ns/a/sa/x,URI:spiffe://mesh/ns/b/sa/y,DNS:c.example")
IDENTITIES = {"nobody": None, "uri and dns": CLIENT, "no names": PLAIN_NAME, "dns": DNS_ONLY,
              "two uris": TWO_URIS}


def _identities(run):
    """One request of each client."""
    for name, identity in IDENTITIES.items():
        try:
            with TLSConnection(run.port, AUTHORITY, identity) as connection:
                connection.send(request_bytes())
                run.note(name, run.record(connection).status)
        except (OSError, ssl.SSLError) as problem:
            run.note(name, type(problem).__name__)


def _secured(trusts=True):
    common = SERVER.common()
    if trusts:
        common["validation_context"] = AUTHORITY.trust
    return {"transport_socket": downstream_tls(common_tls_context=common)}


_NAMES = {
    "exact URI": {"exact": "spiffe://mesh/client"},
    "second URI": {"exact": "spiffe://mesh/ns/b/sa/y"},
    "prefix of a URI": {"prefix": "spiffe://mesh/ns/"},
    "suffix of a URI": {"suffix": "/sa/x"},
    "regex of a URI": {"safe_regex": {"regex": ".*/ns/a/.*"}},
    "URI in any case": {"exact": "SPIFFE://mesh/CLIENT", "ignore_case": True},
    "DNS name": {"exact": "client.example"},
    "second DNS name": {"exact": "b.example"},
    "DNS name beside URIs": {"exact": "c.example"},
    "subject": {"exact": "CN=plain-name,O=acme"},
    "subject beside URIs": {"contains": "CN=client"},
    "subject beside DNS names": {"contains": "CN=dns-only"},
    "anything": {"safe_regex": {"regex": ".*"}},
    "something": {"safe_regex": {"regex": ".+"}},
}
for _name, _matcher in _NAMES.items():
    case(f"rbac: authenticated by {_name}", scenario=_identities, chain=_secured(), log=LOG,
         filters=[_filter(rules=_rules(p=_policy(
             principal={"authenticated": {"principal_name": _matcher}})))])
    case(f"rbac: not authenticated by {_name}", scenario=_identities, chain=_secured(), log=LOG,
         filters=[_filter(rules=_rules(p=_policy(principal={"not_id": {
             "authenticated": {"principal_name": _matcher}}})))])
case("rbac: any client of TLS", scenario=_identities, chain=_secured(), log=LOG,
     filters=[_filter(rules=_rules(p=_policy(principal={"authenticated": {}})))])
case("rbac: a name that nobody has verified", scenario=_identities, chain=_secured(False), log=LOG,
     filters=[_filter(rules=_rules(p=_policy(principal={"authenticated": {
         "principal_name": {"prefix": "spiffe://"}}})))])
_allows("a plain client is not authenticated", principal={"authenticated": {}}, no=[_at()])
_allows("a plain client has no name", principal={"authenticated": {
    "principal_name": {"safe_regex": {"regex": ".*"}}}}, no=[_at()])


def _names(run):
    """Requests that ask TLS for several names."""
    for name in ("server.example", "other.example", "SERVER.example"):
        with TLSConnection(run.port, AUTHORITY, name=name) as connection:
            connection.send(request_bytes())
            run.note(name, run.record(connection).status)


_INSPECTOR = {"listener_filters": [{"name": "tls", "typed_config": typed(
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")}]}
for _listener in ({}, _INSPECTOR):
    for _name, _matcher in {
            "exact": {"exact": "server.example"}, "suffix": {"suffix": ".example"},
            "prefix": {"prefix": "other"}, "regex": {"safe_regex": {"regex": ".*"}}}.items():
        case(f"rbac: requested_server_name {_name}"
             + (", seen by the inspector" if _listener else ""),
             scenario=_names, chain=_secured(), listener=_listener, log=LOG,
             filters=[_filter(rules=_rules(p=_policy({"requested_server_name": _matcher})))])
_allows("a plain client asks for no server", {"requested_server_name": {"prefix": "a"}}, no=[_at()])
_allows("a plain client asks for nothing", {"requested_server_name": {
    "safe_regex": {"regex": ".*"}}}, yes=[_at()])
