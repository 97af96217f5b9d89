"""What a differential case is, and the small words in which cases are written.

A case is a configuration fragment and some requests. The runner gives it a listener, clusters and
upstreams of its own, runs it through Envoy and through Fairlead and compares all that can be seen.
In any string of a fragment or a request, `@@port:NAME` stands for the port of upstream NAME,
`@@port` for the listener's and `@@NAME` for a name that is the case's own (clusters, stat
prefixes). A case with an access log of its own writes to `@@logfile` and begins its lines with
`@@here`.
"""

import re
import sys
from dataclasses import dataclass, field

from harness.client import request_bytes

ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Everything in the access log that does not depend on time.
LOG_FIELDS = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "original_path": "%REQ(X-ENVOY-ORIGINAL-PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "scheme": "%REQ(:SCHEME)%",
    "protocol": "%PROTOCOL%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "flags_long": "%RESPONSE_FLAGS_LONG%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "transport_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "cluster_raw": "%UPSTREAM_CLUSTER_RAW%",
    "upstream": "%UPSTREAM_HOST%",
    "upstream_protocol": "%UPSTREAM_PROTOCOL%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "xff": "%REQ(X-FORWARDED-FOR)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "content_type": "%RESP(CONTENT-TYPE)%",
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
}


@dataclass
class Step:
    """One request of a case."""

    data: bytes
    method: str = "GET"
    # What Envoy answers, which proves that the case tests what its name says: a status, the body of
    # a 200, or None for no answer.
    expect: object = 200
    # Steps with the same label share a connection; None is a connection of its own.
    connection: str = None


@dataclass
class Case:
    """One sentence about behaviour, and what it takes to see it."""

    name: str
    steps: list = field(default_factory=list)
    virtual_hosts: list = field(default_factory=list)
    route_config: dict = field(default_factory=dict)
    hcm: dict = field(default_factory=dict)
    filters: list = field(default_factory=list)
    clusters: dict = field(default_factory=dict)
    upstreams: dict = field(default_factory=dict)
    listener: dict = field(default_factory=dict)
    # Of the listener's filter chain.
    chain: dict = field(default_factory=dict)
    log: dict = field(default_factory=dict)
    runtime: dict = field(default_factory=dict)
    # What the last line of Envoy's access log has to say.
    expect_log: dict = field(default_factory=dict)
    # Counters and gauges that Envoy must have, by name within the case.
    expect_stats: dict = field(default_factory=dict)
    # A function of the `Run` in place of steps.
    scenario: object = None
    # Difference lines (a regular expression) that chance makes in this case, such as which endpoint
    # a balancer begins with.
    by_chance: str = ""
    group: str = ""
    tag: str = ""

    def __str__(self):
        return self.name


CASES = []


def case(name, *steps, routes=None, vhosts=None, **parts):
    """Declares a case; by default every path goes to the cluster `up`, which says hello."""
    if any(known.name == name for known in CASES):
        raise ValueError(f"two cases are named {name!r}")
    group = sys._getframe(1).f_globals["__name__"].rpartition(".")[2]
    if vhosts is None:
        vhosts = [vhost(*(routes if routes is not None else [to("up")]))]
    parts.setdefault("clusters", {"up": {}})
    # Stat names and clusters of two cases never meet.
    tag = f"c{len(CASES):04d}"
    CASES.append(Case(name, list(steps), vhosts, group=group, tag=tag, **parts))


# --- requests ---


def req(method, target="/", headers=(), body=None, expect=200, on=None, host="test.example",
        version="HTTP/1.1"):
    """A well-formed request."""
    data = request_bytes(method, target, headers, body, host, version)
    return Step(data, method, expect, on)


def get(target="/", headers=(), **options):
    """A GET."""
    return req("GET", target, headers, **options)


def post(target="/", body=b"data", headers=(), **options):
    """A POST with a body."""
    return req("POST", target, headers, body, **options)


def bytes_of(data, expect=400, method="GET", on=None):
    """A request given as bytes."""
    return Step(data, method, expect, on)


# --- routes ---


def vhost(*routes, domains=("*",), name="vh", **extra):
    """A virtual host."""
    return {"name": name, "domains": list(domains), "routes": list(routes), **extra}


def route(match, **action):
    """A route with a match (see `prefix`, `path` …) and its action and other fields."""
    return {"match": match, **action}


def to(cluster="up", match=None, **action):
    """A route to a cluster; keywords are fields of the route action."""
    target = {} if cluster is None else {"cluster": f"@@{cluster}"}
    return {"match": match or prefix("/"), "route": {**target, **action}}


def says(body, match=None, status=200, **fields):
    """A route that answers by itself: the cheapest way to see which route was taken."""
    return {
        "match": match or prefix("/"),
        "direct_response": {"status": status, "body": {"inline_string": body}},
        **fields,
    }


def prefix(value, **more):
    """Matches by prefix."""
    return {"prefix": value, **more}


def path(value, **more):
    """Matches the exact path."""
    return {"path": value, **more}


def regex(value, **more):
    """Matches the path by a regular expression."""
    return {"safe_regex": {"regex": value}, **more}


def header_add(name, value, action=None, **more):
    """A HeaderValueOption."""
    option = {"header": {"key": name, "value": value}, **more}
    if action:
        option["append_action"] = action
    return option


def http_filter(name, message, **config):
    """A filter with its configuration; `message` is below envoy.extensions.filters.http."""
    message = f"envoy.extensions.filters.http.{message}"
    return {"name": name, "typed_config": typed(message, **config)}


def typed(message, **config):
    """A typed configuration (google.protobuf.Any)."""
    return {"@type": f"type.googleapis.com/{message}", **config}


def http_options(**options):
    """A cluster's HttpProtocolOptions over HTTP/1."""
    explicit = {"explicit_http_config": {"http_protocol_options": {}}}
    config = typed(HTTP_OPTIONS, **explicit, **options)
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: config}}


# --- from a case to configuration ---


def merged(base, extra):
    """A deep merge of documents: dictionaries by key, all else replaced."""
    result = dict(base)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


_NAME = re.compile(r"@@(port:)?([a-zA-Z_]\w*)")


def resolved(value, tag, ports, log_file=""):
    """Puts names and ports into a fragment."""
    if isinstance(value, dict):
        return {resolved(k, tag, ports): resolved(v, tag, ports, log_file)
                for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolved(item, tag, ports, log_file) for item in value]
    if isinstance(value, bytes):
        return resolved(value.decode("latin-1"), tag, ports).encode("latin-1")
    if not isinstance(value, str) or "@@" not in value:
        return value
    if value.startswith("@@port") and (whole := _NAME.fullmatch(value)):
        return ports[whole.group(2) if whole.group(1) else ""]
    value = value.replace("@@logfile", log_file).replace("@@here", tag)

    def name(match):
        if match.group(1):
            return str(ports[match.group(2)])
        return str(ports[""]) if match.group(2) == "port" else f"{tag}_{match.group(2)}"

    return _NAME.sub(name, value)


def upstream_names(one):
    """The upstreams that a case's clusters name."""
    names = set(one.upstreams)
    for name, overrides in one.clusters.items():
        names.update(overrides.get("endpoints", [name]))
    return sorted(names)


def cluster_config(name, overrides):
    """A cluster whose endpoints are the named upstreams (by default the one of its own name)."""
    overrides = dict(overrides)
    endpoints = [
        {"endpoint": {"address": {"socket_address": {
            "address": "127.0.0.1", "port_value": f"@@port:{upstream}"}}}}
        for upstream in overrides.pop("endpoints", [name])
    ]
    return merged({
        "name": f"@@{name}",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": f"@@{name}",
            "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
        },
    }, overrides)


def access_log(one, file):
    """One line of `field=value` for each request, beginning with the case's tag."""
    fields = {**LOG_FIELDS, **one.log}
    line = "\t".join([one.tag] + [f"{name}={text}" for name, text in fields.items()]) + "\n"
    return [{
        "name": "envoy.access_loggers.file",
        "typed_config": typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=str(file),
            log_format={"text_format_source": {"inline_string": line}}),
    }]


def listener_config(one, file):
    """The case's listener with its connection manager."""
    manager = merged(typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=one.tag,
        access_log=access_log(one, file),
        route_config=merged(
            {"name": "routes", "virtual_hosts": one.virtual_hosts}, one.route_config),
        http_filters=list(one.filters) + [ROUTER],
    ), one.hcm)
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return merged({
        "name": one.tag,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "@@port"}},
        "filter_chains": [{"filters": [network], **one.chain}],
    }, one.listener)
