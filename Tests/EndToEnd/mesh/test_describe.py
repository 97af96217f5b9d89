"""`fairleadctl describe` and `authz check`: what the mesh makes of a workload, and who may speak to it."""

import pytest

from harness.mesh import DECK, MeshControl, pod, service, sidecar, subnet
from harness.tool import tool

POLICY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  selector: {matchLabels: {app: service-go}}
  action: ALLOW
  rules:
  - to: [{operation: {methods: [GET]}}]
  - from: [{source: {namespaces: [default]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: others}
spec:
  selector: {matchLabels: {app: other}}
  action: DENY
  rules: [{}]
"""


@pytest.fixture
def mesh(tmp_path):
    """The deck's rules, a pod of the first version, and a service that does not quite select it."""
    address = subnet() + ".1"
    control = MeshControl(tmp_path)
    control.apply("mesh.yaml", DECK + service("service-go", 8080)
                  + service("canary", 8080, selector="{app: service-go, version: v2}")
                  + pod("go-1", "service-go", "v1", address) + POLICY)
    control.start()
    control.address = address
    yield control
    control.stop()


def test_a_pod_and_a_service_are_described(mesh):
    def ask(*arguments, **options):
        return tool("describe", *arguments, "--control", f"127.0.0.1:{mesh.http}", **options)

    said = ask("pod", "go-1").out
    for line in ["Pod: go-1.default", "Service: service-go.default",
                 "   Port: http 8080/HTTP targets port 8080",
                 "DestinationRule: service-go.default", "   Matching subsets: v1",
                 "(Non-matching subset v2: version=v2)", "VirtualService: service-go.default",
                 "weight 70 to this service, subset v1 (this pod)",
                 "weight 30 to this service, subset v2 (not this pod)",
                 "Service canary.default does not select it: "
                 "label 'version' is 'v1', and 'v2' is wanted",
                 "AuthorizationPolicy: readers.default: ALLOW, 2 rule(s)",
                 "AuthorizationPolicy: others.default: not for this pod, which is not app=other",
                 "No proxy of it is connected."]:
        assert line in said, (line, said)
    said = ask("svc", "service-go.default").out
    for line in ["Subset: v1 (version=v1), 1 endpoints", "Subset: v2 (version=v2), 0 endpoints",
                 "1 of 1 endpoints are ready", "Workloads: go-1"]:
        assert line in said, (line, said)
    assert "did you mean 'go-1'" in ask("pod", "go-2", code=1).err


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
def test_the_policies_of_a_proxy_are_shown(mesh, kind):
    proxy = sidecar(kind, mesh, True, mesh.address, name="go-1",
                    labels={"app": "service-go", "version": "v1"},
                    APPLICATION_ADDRESS="127.0.0.1")
    try:
        admin = f"127.0.0.1:{proxy.admin_port}"
        assert tool("authz", "check", admin).rows == [
            ["ACTION", "AUTHORIZATION POLICY", "RULES"], ["ALLOW", "readers.default", "2"]]
    finally:
        proxy.stop()
