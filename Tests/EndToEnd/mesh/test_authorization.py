"""Who may speak to a workload: policies, through our proxy and through the real Envoy before it."""

import pytest

from harness.client import fetch, wait_listening
from harness.mesh import MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import until


def policy(spec, name="p", annotations="{}"):
    """An AuthorizationPolicy."""
    indented = "".join("  " + line + "\n" for line in spec.strip().splitlines())
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, annotations: {annotations}}}
spec:
{indented}"""


class House:
    """A workload with a proxy before it: requests to its address come to the proxy."""

    def __init__(self, kind, directory):
        net = subnet()
        self.address = f"{net}.1"
        self.application = Workload(f"{net}.2", 9080, "inside")
        self.control = MeshControl(directory)
        self.control.apply("services.yaml", service("shop", 9080) + service("raw", 9081, 9081, "{app: shop}", "tcp")
                           + pod("shop-1", "shop", "v1", self.address))
        self.raw = Workload(f"{net}.2", 9081, "raw")
        self.control.start()
        self.proxy = sidecar(kind, self.control, True, self.address, name="shop-1",
                             labels={"app": "shop"}, APPLICATION_ADDRESS=f"{net}.2")
        wait_listening(9080, self.address)

    def status(self, target="/", method="GET", headers=(), host="shop", port=9080):
        """What a request is answered with."""
        return fetch(port, target, method=method, headers=list(headers), host=host,
                     address=self.address).status

    def becomes(self, wanted, **request):
        """Waits for a status."""
        until(lambda: self.status(**request) == wanted, 10, f"{request} to be {wanted}")

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.control.stop()
        self.application.stop()
        self.raw.stop()


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def house(request, tmp_path_factory):
    """One for all tests of a kind of proxy."""
    made = House(request.param, tmp_path_factory.mktemp("house"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def fresh(house):
    """No policies, at first; nothing refused, at last."""
    house.control.apply("policies.yaml", "")
    house.becomes(200)
    yield
    assert sum(house.proxy.stats("update_rejected").values()) == 0, house.control.output()[-3000:]


def test_what_is_denied_is_denied(house):
    house.control.apply("policies.yaml", policy("""
action: DENY
rules:
- to: [{operation: {paths: ["/admin*"], methods: [GET]}}]
- when: [{key: "request.headers[x-bad]", values: ["*"]}]
"""))
    house.becomes(403, target="/admin/x")
    assert house.status("/") == 200
    assert house.status("/admin/x", "POST") == 200
    assert house.status("/", headers=[("x-bad", "1")]) == 403
    assert fetch(9080, "/admin", host="shop", address=house.address).body == b"RBAC: access denied"


def test_only_what_is_allowed_is_allowed(house):
    house.control.apply("policies.yaml", policy("""
selector: {matchLabels: {app: shop}}
action: ALLOW
rules:
- to: [{operation: {methods: [GET], notPaths: ["/secret"]}}]
- from: [{source: {ipBlocks: [192.0.2.0/24]}}]
- to: [{operation: {hosts: ["SHOP.example"]}}]
"""))
    house.becomes(403, target="/secret")
    assert house.status("/") == 200
    assert house.status("/", "POST") == 403
    assert house.status("/secret", host="shop.example") == 200


def test_an_empty_policy_denies_all(house):
    house.control.apply("policies.yaml", policy("{}"))
    house.becomes(403)


def test_a_policy_for_others_changes_nothing(house):
    house.control.apply("policies.yaml", policy("""
selector: {matchLabels: {app: other}}
action: DENY
rules: [{}]
""") + policy("""
action: DENY
rules: [{to: [{operation: {paths: ["/mark"]}}]}]
""", "mark"))
    house.becomes(403, target="/mark")
    assert house.status() == 200


def test_denial_comes_before_permission(house):
    house.control.apply("policies.yaml", policy("""
action: ALLOW
rules: [{}]
""", "all") + policy("""
action: DENY
rules: [{to: [{operation: {ports: ["9080"], paths: ["/x"]}}]}]
""", "some"))
    house.becomes(403, target="/x")
    assert house.status() == 200


def test_a_rehearsal_counts_and_refuses_nothing(house):
    house.control.apply("policies.yaml", policy("""
action: DENY
rules: [{to: [{operation: {paths: ["/later"]}}]}]
""", annotations='{istio.io/dry-run: "true"}'))

    def counted():
        assert house.status("/later") == 200
        return sum(house.proxy.stats("shadow_denied").values()) > 0

    until(counted, 10, "the rehearsal to count")


def test_identities_that_nobody_has_shown(house):
    """Without TLS a client has none."""
    house.control.apply("policies.yaml", policy("""
action: ALLOW
rules: [{from: [{source: {principals: ["cluster.local/ns/default/sa/web"]}}]}]
"""))
    house.becomes(403)


def test_connections_are_refused_by_where_they_come_from(house):
    def carried():
        try:
            return house.status(port=9081) == 200
        except (OSError, AssertionError, EOFError):
            return False

    # Each port has a listener of its own, and the policies of the test before go one by one.
    until(carried, 10, "connections to be carried")
    house.control.apply("policies.yaml", policy("""
action: DENY
rules: [{from: [{source: {ipBlocks: ["127.0.0.0/8"]}}], to: [{operation: {ports: ["9081"]}}]}]
"""))

    def refused():
        try:
            house.status(port=9081)
            return False
        except (OSError, AssertionError, EOFError):
            return True

    until(refused, 10, "connections to be closed")
    assert house.status() == 200
