"""A mesh whose workloads have certificates: a client, a server, and who else wants to speak to it."""

import re

from .client import Connection, fetch, wait_listening
from .control import proxy_bootstrap
from .identity import join_token
from .mesh import MeshControl, Workload, service, subnet
from .ports import free_port
from .proxy import Proxy
from .tls import upstream_tls


def identified_pod(name, app, address, account, tls=True):
    """A Pod with a service account, whose proxy takes mutual TLS."""
    mode = ", security.istio.io/tlsMode: istio" if tls else ""
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}{mode}}}}}
spec: {{serviceAccountName: {account}}}
status: {{phase: Running, podIP: {address}}}
"""


def peers(mode, more=""):
    """A PeerAuthentication of the namespace."""
    return f"""---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: peers}}
spec: {{mtls: {{mode: {mode}}}{more}}}
"""


class MutualMesh:
    """`shop` behind its proxy, and a client's proxy, of these kinds; certificates from the control plane's
    authority."""

    def __init__(self, directory, kinds, lasting=0):
        self.directory, self.lasting = directory, lasting
        self.net = subnet()
        self.server_address, self.client_address = f"{self.net}.1", f"{self.net}.9"
        self.application = Workload(f"{self.net}.2", 9080, "inside")
        self.control = MeshControl(directory)
        self.ca = directory / "ca"
        self.control.apply(
            "services.yaml", service("shop", 80, 9080)
            + identified_pod("shop-1", "shop", self.server_address, "shop")
            + identified_pod("web-1", "web", self.client_address, "web"))
        lives = ["--cert-ttl", f"{lasting}s"] if lasting else []
        self.control.start("--ca-dir", str(self.ca), "--secure-grpc-addr", "127.0.0.1:0", *lives)
        self.secure = int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)", self.control.output())[-1])
        self.server = self.proxy(kinds[1], "shop-1", "shop", self.server_address, {
            "APPLICATION_ADDRESS": f"{self.net}.2"})
        self.client = self.proxy(kinds[0], "web-1", "web", self.client_address)
        wait_listening(9080, self.server_address)
        wait_listening(80, self.client_address)

    def token(self, account):
        """A file with a token for a service account."""
        file = self.directory / f"{account}.token"
        file.write_text(join_token(self.ca, f"default/{account}", "--token-reusable"))
        return file

    def proxy(self, kind, name, account, address, metadata=None):
        """A proxy with a certificate, started."""
        document = proxy_bootstrap(self.control.port if kind == "fairlead" else self.secure,
                                   free_port(), True)
        document["node"] = {
            "id": f"sidecar~{address}~{name}.default~default.svc.cluster.local", "cluster": name,
            "metadata": {"INTERCEPTION_MODE": "NONE", "BIND_ADDRESS": address,
                         "LABELS": {"app": account}, "SERVICE_ACCOUNT": account,
                         **(metadata or {})}}
        token = self.token(account)
        flags = ["--concurrency", "1"]
        if kind == "fairlead":
            flags += ["--ca-address", f"127.0.0.1:{self.secure}", "--ca-root-path",
                      str(self.ca / "root-cert.pem"), "--ca-token-path", str(token), "--cert-dir",
                      str(self.directory / f"{name}.certs"), "--cert-ttl-s", str(self.lasting)]
        else:
            # The control plane is who it is, by its own root; the token says who asks.
            document["static_resources"]["clusters"][0]["transport_socket"] = upstream_tls(
                common_tls_context={"validation_context": {
                    "trusted_ca": {"filename": str(self.ca / "root-cert.pem")}}})
            document["dynamic_resources"]["ads_config"]["grpc_services"][0]["initial_metadata"] = [
                {"key": "authorization", "value": f"Bearer {token.read_text().strip()}"}]
        proxy = Proxy(kind)
        proxy.start(document, flags)
        return proxy

    def ask(self):
        """The answer to a request of the client's application."""
        return fetch(80, host="shop", address=self.client_address)

    def ask_port(self, port, host):
        """What is answered to a request for another service; None as long as nobody listens."""
        try:
            return fetch(port, host=host, address=self.client_address).body
        except (OSError, AssertionError, EOFError):
            return None

    def connection(self):
        """A connection of the client's application."""
        return Connection(80, self.client_address)

    def plain(self):
        """The status of a request by somebody without a proxy; None when the connection just ends."""
        try:
            return fetch(9080, host="shop", address=self.server_address).status
        except (OSError, AssertionError, EOFError):
            return None

    def seen(self):
        """Who the last request came from, as the application is told."""
        return self.application.requests[-1][2].get("x-forwarded-client-cert")

    def stop(self):
        """Ends everything."""
        for one in (self.server, self.client, self.control, self.application):
            one.stop()
