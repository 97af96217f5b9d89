"""Certificates from Secrets (`credentialName`): gateways of both kinds, and what they connect to."""

import base64
import re

import pytest

from harness.certificates import Authority, Identity
from harness.client import fetch, request_bytes
from harness.control import proxy_bootstrap
from harness.identity import Workload as Caller
from harness.identity import join_token
from harness.mesh import MeshControl, Workload, pod, service, subnet
from harness.ports import free_port
from harness.proxy import Proxy
from harness.tls import TLSConnection, TLSUpstream, upstream_tls
from harness.waiting import until


def secret(name, **files):
    """A Secret; underscores of the keys are dots."""
    data = ", ".join(f'{key.replace("_", ".")}: {base64.b64encode(file.read_bytes()).decode()}'
                     for key, file in files.items())
    kind = "kubernetes.io/tls" if "tls_crt" in files else "Opaque"
    return f"""---
apiVersion: v1
kind: Secret
type: {kind}
metadata: {{name: {name}}}
data: {{{data}}}
"""


def rules(port, upstream):
    """A port with TLS of several kinds, and where its requests go."""
    servers = "".join(f"""
  - port: {{number: {port}, name: {name}, protocol: HTTPS}}
    hosts: [{name}.example]
    tls: {{mode: {mode}, credentialName: {credential}}}""" for name, mode, credential in [
        ("simple", "SIMPLE", "front"), ("mutual", "MUTUAL", "both")])
    return service("shop", 9080) + f"""---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingress}}
  servers:{servers}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - match: [{{uri: {{prefix: /secured}}}}]
    route: [{{destination: {{host: outside.example, port: {{number: {upstream}}}}}}}]
  - route: [{{destination: {{host: shop}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside}}
spec:
  hosts: [outside.example]
  resolution: STATIC
  location: MESH_EXTERNAL
  ports: [{{number: {upstream}, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outside}}
spec:
  host: outside.example
  trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: client, sni: outside.example}}}}
"""


class Edge:
    """A gateway that has proved who it is, and one that has not."""

    def __init__(self, kind, directory):
        self.directory, self.kind = directory, kind
        self.authority = Authority(directory)
        self.port = free_port()
        self.upstream = TLSUpstream(self.authority.issue("outside", "DNS:outside.example"),
                                    self.authority, require=True, body=b"outside")
        net = subnet()
        self.address = f"{net}.9"
        self.application = Workload(f"{net}.1", 9080, "inside")
        self.control = MeshControl(directory)
        self.control.apply("mesh.yaml", rules(self.port, self.upstream.port)
                           + pod("shop-1", "shop", "v1", f"{net}.1"))
        self.client = self.authority.issue("client", "DNS:client.example")
        self.show("first")
        self.ca = directory / "ca"
        self.control.start("--ca-dir", str(self.ca), "--secure-grpc-addr", "127.0.0.1:0")
        self.secure = int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)",
                                     self.control.output())[-1])
        self.proxy = self.gateway(self.secure)

    def show(self, name, key=None):
        """Has the Secret of the first server hold a certificate of this name."""
        front = self.authority.issue(name, "DNS:simple.example")
        trust = self.authority.certificate
        both = self.authority.issue("both", "DNS:mutual.example")
        self.control.apply("secrets.yaml", "".join([
            secret("front", tls_crt=front.certificate, tls_key=key or front.key),
            secret("both", cert=both.certificate, key=both.key), secret("both-cacert", cacert=trust),
            secret("client", tls_crt=self.client.certificate, tls_key=self.client.key,
                   ca_crt=trust)]))
        return front

    def gateway(self, port):
        """A proxy that is a gateway, started."""
        document = proxy_bootstrap(port, free_port(), True)
        document["node"] = {
            "id": f"router~{self.address}~edge-1.default~default.svc.cluster.local",
            "cluster": "edge", "metadata": {"LABELS": {"istio": "ingress"}}}
        if port == self.secure:
            roots = self.ca / "root-cert.pem"
            got = Caller(self.directory, port, roots.read_bytes(),
                         join_token(self.ca, "default/edge")).ask()
            mine = Identity(self.directory / "edge.pem", self.directory / "edge.key")
            mine.certificate.write_bytes(got.certificate)
            mine.key.write_bytes(got.key)
            cluster = document["static_resources"]["clusters"][0]
            cluster["transport_socket"] = upstream_tls(common_tls_context={
                **mine.common(), "validation_context": {"trusted_ca": {"filename": str(roots)}}})
        proxy = Proxy(self.kind)
        proxy.start(document, ("--concurrency", "1"), wait=False)
        return proxy

    def ask(self, name, identity=None, target="/"):
        """The answer and who gave it; None: no connection."""
        try:
            with TLSConnection(self.port, self.authority, identity, name=f"{name}.example",
                               protocols=["http/1.1"]) as client:
                shown = dict(one[0] for one in client.socket.getpeercert()["subject"])
                client.send(request_bytes("GET", target, host=f"{name}.example"))
                return client.read_response("GET").body, shown["commonName"]
        except (OSError, AssertionError, EOFError):
            return None

    def becomes(self, wanted, *request):
        """Waits for an answer."""
        until(lambda: self.ask(*request) == wanted, 30, f"{request} to be {wanted}")

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.control.stop()
        self.application.stop()


@pytest.fixture(params=["fairlead", "envoy"])
def edge(request, tmp_path):
    """One for each kind of proxy."""
    made = Edge(request.param, tmp_path)
    yield made
    made.stop()


def test_gateways_show_what_secrets_hold(edge):
    """Both kinds of TLS, towards clients and upstreams; a Secret that changes, and bad ones."""
    edge.becomes((b"inside", "first"), "simple")
    # A client certificate is asked for where the rule says so.
    edge.becomes((b"inside", "both"), "mutual", edge.client)
    assert edge.ask("mutual") is None
    # The upstream sees the certificate of the DestinationRule's Secret.
    edge.becomes((b"outside", "first"), "simple", None, "/secured")
    updates = edge.proxy.stat("listener_manager.lds.update_success")
    edge.show("second")
    edge.becomes((b"inside", "second"), "simple")
    # A key that does not fit is refused by name, and nothing of it is shown.
    edge.show("third", edge.client.key)
    edge.control.wait_log("the private key: does not belong to the certificate")
    assert edge.ask("simple") == (b"inside", "second")
    edge.show("fourth")
    edge.becomes((b"inside", "fourth"), "simple")
    assert edge.proxy.stat("listener_manager.lds.update_success") == updates
    assert sum(edge.proxy.stats("update_rejected").values()) == 0
    assert "PRIVATE KEY" not in edge.control.output()


def test_no_key_goes_over_the_plain_port(edge):
    """A gateway that has not proved who it is does not listen, and people are told."""
    plain = edge.gateway(edge.control.port)
    try:
        until(lambda: "has not come to the secured port" in fetch(
            edge.control.http, "/debug/syncz").body.decode(), 10, "the omission to be told")
        until(lambda: plain.stat("listener_manager.lds.update_success"), 10, "listeners to be sent")
        assert plain.stat("listener_manager.total_listeners_active") == 0
    finally:
        plain.stop()
