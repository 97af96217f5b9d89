"""The same configuration and the same requests through Envoy 1.40 and Fairlead.

Every case runs through the real Envoy first and must find there what its name says; then Fairlead
must answer, forward, log and count the same. All selected cases share one process of each proxy.
"""

import dataclasses
import json
import pathlib
import re
from collections import defaultdict

import pytest

from . import cases  # noqa: F401  (declares them)
from .comparison import differences
from .known_differences import DELAYED_CLOSE, KNOWN_DIFFERENCES
from .model import CASES, cluster_config, listener_config, resolved
from .runner import observe
from .schema import Schema

pytestmark = pytest.mark.alone("two proxies' timers are to have done the same")


@pytest.fixture(scope="session")
def observations(request):
    """What both proxies did with every selected case."""
    selected = [
        item.callspec.params["one"] for item in request.session.items
        if "one" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    seen = {"envoy": observe("envoy", selected)}
    if record := request.config.getoption("--record"):
        known = {name: dataclasses.asdict(one) for name, one in seen["envoy"].items()}
        pathlib.Path(record).write_text(json.dumps(known, indent=1, default=str))
    if request.config.getoption("--self-check"):
        seen["fairlead"] = observe("envoy", selected)
    elif not request.config.getoption("--envoy-only"):
        seen["fairlead"] = observe("fairlead", selected)
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.group}: {one.name}")
def test_case(one, observations):
    """Envoy behaves as the case says, and Fairlead as Envoy does."""
    envoy = observations["envoy"][one.name]
    _check_case(one, envoy)
    if "fairlead" not in observations:
        return
    found = differences(envoy, observations["fairlead"][one.name])
    unexcused = [
        line for line in found
        if not (one.by_chance and re.search(one.by_chance, line))
        and not any([known.excuses(one.name, line) for known in KNOWN_DIFFERENCES])
    ]
    if unexcused:
        pytest.fail("Fairlead differs:\n  " + "\n  ".join(unexcused), pytrace=False)


def _check_case(one, envoy):
    """The case is right: Envoy gives the statuses, bodies, log and statistics that it states."""
    wrong = [envoy.failure] if envoy.failure else []
    for step, seen in zip(one.steps, envoy.responses[-len(one.steps):] if one.steps else []):
        got = seen.get("body" if isinstance(step.expect, str) else "status")
        if got != step.expect:
            wrong.append(f"{step.data[:80]!r}: expected {step.expect!r}, saw {seen}")
    for name, value in one.expect_log.items():
        if not envoy.log or envoy.log[-1][name] != value:
            wrong.append(f"log {name}: expected {value!r}, saw {envoy.log[-1:]}")
    for name, value in one.expect_stats.items():
        if envoy.stats.get(name, 0) != value:
            wrong.append(f"stat {name}: expected {value}, saw {sorted(envoy.stats.items())}")
    if wrong:
        pytest.fail("Envoy itself does otherwise:\n  " + "\n  ".join(wrong), pytrace=False)


def test_every_known_difference_still_exists(request, observations):
    """A difference that is gone leaves the list."""
    if "fairlead" not in observations:
        pytest.skip("Envoy alone")
    names = {
        item.callspec.params["one"].name for item in request.session.items
        if "one" in getattr(getattr(item, "callspec", None), "params", {})
    }
    if len(names) < len(CASES):
        pytest.skip("not every case was selected")
    unused = [known for known in KNOWN_DIFFERENCES if not known.used]
    assert not unused, f"these differences no longer exist: {unused}"


def test_every_known_difference_is_documented():
    """Operators find every difference in the documentation."""
    root = pathlib.Path(__file__).resolve().parents[3]
    page = " ".join((root / "docs" / "envoy-differences.md").read_text().split())
    reasons = [known.reason for known in KNOWN_DIFFERENCES] + [DELAYED_CLOSE]
    missing = [reason for reason in reasons if " ".join(reason.split()) not in page]
    assert not missing, missing


# Fields of what is not the business of these cases: the bootstrap around them, and where a value is
# looked at in other tests.
ELSEWHERE = (
    r"envoy\.config\.bootstrap\.|envoy\.config\.core\.v3\.(Node|Locality|Pipe|Address\.pipe)"
    r"|RuntimeFeatureFlag\.|Listener\.ignore_global|envoy\.config\.overload\.|\.resource_monitors\."
    r"|envoy\.config\.metrics\.|\.(Stdout|Stderr)AccessLog|^fairlead\."
    r"|SocketAddress\.protocol|core\.v3\.(ProxyProtocol(Config|PassThroughTLVs)|TlvEntry|BindConfig|SocketOption)|\.upstream_bind_config"
    r"|transport_sockets\.proxy_protocol\."
    # What a listener decides before HTTP: test_filter_chains.py.
    r"|FilterChain\.(name|filter_chain_match)|FilterChainMatch\.|\.ListenerFilter\."
    r"|filters\.network\.(connection_limit|direct_response|echo|local_ratelimit|rbac|sni_cluster|tcp_proxy)\."
    r"|filters\.listener\.|Listener\.(default_filter_chain|use_original_dst|listener_filters|bind_to)"
    r"|Listener\.(deprecated_v1|DeprecatedV1|transparent|freebind|socket_options|traffic_direction|max_connections)"
    r"|Listener\.continue_on"
    # Where connections were going: test_original_dst.py.
    r"|Cluster\.(original_dst_lb_config|OriginalDstLbConfig\.|cleanup_interval)"
    # What comes while the process runs: dynamic/, mesh/.
    r"|core\.v3\.(ApiConfigSource|GrpcService|ControlPlane)\."
    r"|\.(Rds|ConfigSource|ExtensionConfigSource|PathConfigSource|WatchedDirectory|DiscoveryResponse)\."
    r"|Cluster\.ignore_health_on_host_removal|HttpConnectionManager\.rds|HttpFilter\.config_discovery|Cluster\.(eds_cluster_config|EdsClusterConfig\.)"
    r"|Bootstrap\.(dynamic_resources|DynamicResources\.)"
    r"|tls\.v3\.(Secret|SdsSecretConfig)\.|\.CommonTlsContext\.(tls_certificate_sds|validation_context_sds)"
    r"|\.CommonTlsContext\.(combined_validation|CombinedCert)"
    # What control plane and client say to each other: mesh/.
    r"|envoy\.service\.discovery\.|^google\.rpc\.Status\."
    # The rest of a cookie hash needs a hashing balancer.
    r"|HashPolicy\.Cookie(Attribute)?\."
    # What people write about a mesh: mesh/.
    r"|^istio\.|^kubernetes\."
    # Numbers are no values of metadata that a filter notes.
    r"|matcher\.v3\.DoubleMatcher|type\.v3\.DoubleRange")


def test_every_supported_field_has_a_case():
    """What the trimmed protos have, some case sets; what no proto has, no case asks for."""
    schema = Schema()
    found, unknown = set(), set()
    ports = defaultdict(lambda: 1)
    for one in CASES:
        document = resolved({"static_resources": {
            "listeners": [listener_config(one, "log")],
            "clusters": [cluster_config(name, more) for name, more in one.clusters.items()],
        }}, one.tag, ports)
        schema.used(document, "envoy.config.bootstrap.v3.Bootstrap", found, unknown)
    missing = sorted(
        f"{message}.{field}" for message, fields in schema.messages.items() for field in fields
        if (message, field) not in found and not re.search(ELSEWHERE, f"{message}.{field}"))
    assert not missing, "no case sets\n  " + "\n  ".join(missing)
    assert not unknown, "cases set what is not supported:\n  " + "\n  ".join(sorted(unknown))
