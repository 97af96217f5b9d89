"""Tokens of requests to a workload: checked by the real Envoy; our own proxy, which does not check them,
lets nobody pass as the owner of one."""

import json
import time

import pytest

from harness.client import fetch
from harness.identity import Issuer
from harness.mesh import Workload, subnet
from harness.waiting import until

from .test_authorization import House, policy

pytestmark = pytest.mark.unsanitized("sanitizers have seen these rules with policies")


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def house(request, tmp_path_factory):
    """One for all tests of a kind of proxy."""
    directory = tmp_path_factory.mktemp("house")
    made = House(request.param, directory)
    made.issuer = Issuer(directory)
    made.keys = made.issuer.keys.read_text()
    yield made
    made.stop()


def rule(keys, more=""):
    """A RequestAuthentication for one issuer."""
    return f"""---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
  jwtRules:
  - issuer: https://issuer.example
    audiences: [shop]
    {keys}
    {more}
"""


def alice(house, **changes):
    """The field that brings a token of alice's."""
    token = house.issuer.token(**{"expires": time.time() + 600, "subject": "alice",
                                  "audience": "shop", **changes})
    return [("authorization", "Bearer " + token)]


def test_what_a_token_opens(house):
    """A request without one passes unless a policy asks for one; a bad one never does."""
    checks = house.proxy.kind == "envoy"
    house.control.apply("policies.yaml", rule(
        f"jwks: '{house.keys}'",
        "outputClaimToHeaders: [{header: x-who, claim: sub}]") + policy("""
action: DENY
rules: [{to: [{operation: {paths: ["/mark"]}}]}]
""", "mark"))
    house.becomes(403, target="/mark")
    assert house.status() == 200
    refused = 401 if checks else 200
    assert house.status(headers=alice(house)) == 200
    assert house.status(headers=alice(house, expires=time.time() - 100)) == refused
    assert house.status(headers=alice(house, audience="bank")) == (403 if checks else 200)
    assert house.status(headers=[("authorization", "Bearer x.y.z")]) == refused
    # What the application believes to be of a token comes from nowhere else.
    assert house.status(headers=[("x-who", "mallory")]) == 200
    assert "x-who" not in house.application.requests[-1][2]
    assert house.status(headers=alice(house)) == 200
    assert house.application.requests[-1][2].get("x-who") == ("alice" if checks else None)

    # Nor do rules believe it.
    house.control.apply("policies.yaml", rule(
        f"jwks: '{house.keys}'", "outputClaimToHeaders: [{header: x-who, claim: sub}]") + policy("""
action: ALLOW
rules: [{when: [{key: "request.headers[x-who]", values: [alice]}]}]
"""))
    house.becomes(403)
    assert house.status(headers=[("x-who", "alice")]) == 403
    assert house.status(headers=alice(house)) == (200 if checks else 403)

    house.control.apply("policies.yaml", rule(f"jwks: '{house.keys}'") + policy("""
action: ALLOW
rules: [{from: [{source: {requestPrincipals: ["https://issuer.example/alice"]}}]}]
"""))
    house.becomes(403)
    assert house.status(headers=alice(house)) == (200 if checks else 403)
    assert house.status(headers=alice(house, subject="bob")) == 403
    omitted = json.loads(house.control.get("/debug/syncz"))[0]["unsupported"]
    assert omitted == ([] if checks else [
        "RequestAuthentication default/tokens: jwtRules: tokens are not checked: "
        "rules that ask for one refuse all"])


def test_keys_of_a_service(house):
    """`jwksUri` leads to a service of the mesh; where there is none, every token is refused."""
    if house.proxy.kind != "envoy":
        pytest.skip("nobody asks for keys")
    net = subnet()
    server = Workload(f"{net}.1", 9090, "keys", lambda _: (200, {}, house.keys.encode()))
    try:
        house.control.apply("policies.yaml", rule("jwksUri: http://issuer.example/keys"))
        house.becomes(401, headers=alice(house))
        notes = json.loads(house.control.get("/debug/syncz"))[0]["unsupported"]
        assert "no service that the proxy sees" in notes[0]
        assert house.status() == 200
        house.control.apply("policies.yaml", rule(f"jwks: '{house.keys}'"))
        house.becomes(200, headers=alice(house))
        # Where an issuer publishes its keys is not looked for.
        house.control.apply("policies.yaml", rule("forwardOriginalToken: true"))
        house.becomes(401, headers=alice(house))
        house.control.apply("policies.yaml", rule("jwksUri: http://issuer.example/keys") + f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: issuer}}
spec:
  hosts: [issuer.example]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {net}.1, ports: {{http: 9090}}}}]
""")
        house.becomes(200, headers=alice(house))
        assert house.status(headers=alice(house, audience="bank")) == 403
        assert server.requests
    finally:
        server.stop()
    until(lambda: fetch(9080, host="shop", address=house.address).status == 200, 5, "no token")


@pytest.fixture(autouse=True)
def accepted(house):
    """Nothing is refused by the proxy."""
    house.control.apply("policies.yaml", "")
    house.becomes(200)
    yield
    assert sum(house.proxy.stats("update_rejected").values()) == 0, house.control.output()[-3000:]
