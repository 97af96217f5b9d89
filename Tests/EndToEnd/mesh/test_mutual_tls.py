"""Mutual TLS between workloads: certificates from the control plane, through Fairlead and Envoy."""

import json
import queue
import re
import threading

import grpc
import pytest

from harness.certificates import Authority, Identity
from harness.client import fetch, request_bytes, wait_listening
from harness.control import proxy_bootstrap
from harness.identity import Workload as Caller
from harness.identity import join_token, names
from harness.mesh import MeshControl, Workload, service, subnet
from harness.ports import free_port
from harness.protobuf import field, parse, text
from harness.proxy import Proxy
from harness.tls import TLSConnection, upstream_tls
from harness.waiting import until

SHOP = "spiffe://cluster.local/ns/default/sa/shop"
WEB = "spiffe://cluster.local/ns/default/sa/web"


def demand(mode):
    """What every workload of the namespace demands."""
    return f"""---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: {mode}}}}}
"""


def allow(account):
    """Who may speak to the shop."""
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: only}}
spec: {{action: ALLOW, rules: [{{from: [{{source: {{principals: ["cluster.local/ns/default/sa/{account}"]}}}}]}}]}}
"""


def expect(name):
    """A rule by which clients believe one identity only."""
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec: {{host: shop, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, subjectAltNames: ["{name}"]}}}}}}
"""


class Roots:
    """Whom clients here believe."""

    def __init__(self, certificate):
        self.certificate = certificate


class Pair:
    """A workload and its client, each behind a proxy that is known to the control plane."""

    def __init__(self, kinds, directory, delta, *options):
        self.directory, self.delta = directory, delta
        net = subnet()
        self.address, self.here = f"{net}.1", f"{net}.9"
        self.application = Workload(f"{net}.2", 9080, "inside")
        self.control = MeshControl(directory)
        self.control.apply("mesh.yaml", service("shop", 9080) + f"""---
apiVersion: v1
kind: Pod
metadata: {{name: shop-1, labels: {{app: shop, security.istio.io/tlsMode: istio}}}}
spec: {{serviceAccountName: shop}}
status: {{phase: Running, podIP: {self.address}}}
""")
        self.ca = directory / "ca"
        self.control.start("--ca-dir", str(self.ca), "--secure-grpc-addr", "127.0.0.1:0",
                           *options)
        self.secure = int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)",
                                     self.control.output())[-1])
        self.server = self.sidecar(kinds[0], self.address, "shop", {"app": "shop"},
                                   APPLICATION_ADDRESS=f"{net}.2")
        self.client = self.sidecar(kinds[1], self.here, "web", {"app": "web"})
        wait_listening(9080, self.address)
        wait_listening(9080, self.here)

    def issue(self, account, lasting=0):
        """A certificate of a service account, as files."""
        roots = (self.ca / "root-cert.pem").read_bytes()
        token = join_token(self.ca, f"default/{account}")
        got = Caller(self.directory, self.secure, roots, token).ask(lasting=lasting)
        files = [self.directory / f"{account}.{end}" for end in ("pem", "key")]
        for file, data in zip(files, (got.certificate, got.key)):
            file.write_bytes(data)
        return Identity(*files)

    def sidecar(self, kind, address, name, labels, **metadata):
        """A proxy on the secured port."""
        document = proxy_bootstrap(self.secure, free_port(), self.delta)
        mine = self.issue(name)
        document["static_resources"]["clusters"][0]["transport_socket"] = upstream_tls(
            common_tls_context={**mine.common(), "validation_context": {
                "trusted_ca": {"filename": str(self.ca / "root-cert.pem")}}})
        document["node"] = {
            "id": f"sidecar~{address}~{name}-1.default~default.svc.cluster.local", "cluster": name,
            "metadata": {"INTERCEPTION_MODE": "NONE", "BIND_ADDRESS": address, "LABELS": labels,
                         **metadata}}
        proxy = Proxy(kind)
        proxy.start(document, ("--concurrency", "1"))
        return proxy

    def direct(self):
        """What a client without a proxy is answered; None: it does not get in."""
        try:
            return fetch(9080, "/", host="shop", address=self.address).status
        except (OSError, AssertionError, EOFError):
            return None

    def asked(self):
        """What the client's proxy is answered, and as whom the application was asked."""
        before = len(self.application.requests)
        status = fetch(9080, "/", host="shop", address=self.here).status
        seen = self.application.requests[before:]
        fields = {name.lower(): value for name, value in seen[-1][2].items()} if seen else {}
        return status, fields.get("x-forwarded-client-cert", "")

    def becomes(self, status, secured):
        """Waits until requests are answered so, with mutual TLS or without."""
        def right():
            found, shown = self.asked()
            return found == status and (WEB in shown) == secured
        until(right, 15, f"{status}, {'secured' if secured else 'in the clear'}")

    def count(self, proxy, name):
        """The sum of all statistics of a name."""
        return sum(value for key, value in proxy.stats(name).items() if key.endswith(name))

    def refused(self, identity):
        """Whether a client that shows a certificate does not get in."""
        try:
            with TLSConnection(9080, Roots(self.ca / "root-cert.pem"), identity,
                               host=self.address, protocols=["istio"]) as client:
                client.send(request_bytes("GET", "/", host="shop"))
                client.read_response("GET")
            return False
        except (OSError, AssertionError, EOFError):
            return True

    def stop(self):
        """Ends everything."""
        self.client.stop()
        self.server.stop()
        self.control.stop()
        self.application.stop()


@pytest.fixture(scope="module", params=[
    ("envoy", "envoy", True), ("fairlead", "fairlead", False), ("fairlead", "envoy", False),
    ("envoy", "fairlead", True)], ids=lambda param: f"{param[1]}-to-{param[0]}")
def pair(request, tmp_path_factory):
    """One for all tests of two kinds of proxy."""
    made = Pair(request.param[:2], tmp_path_factory.mktemp("pair"), request.param[2])
    yield made
    made.stop()


@pytest.fixture
def fresh(pair):
    """No rules, at first; nothing refused, at last."""
    pair.control.apply("rules.yaml", "")
    pair.becomes(200, True)
    yield pair
    for proxy in (pair.client, pair.server):
        assert sum(proxy.stats("update_rejected").values()) == 0, pair.control.output()[-3000:]


def test_without_rules_both_get_in(fresh):
    """Proxies speak mutual TLS where they can; others are let in as they come."""
    assert fresh.direct() == 200
    shown = fresh.asked()[1]
    assert f"By={SHOP}" in shown and f"URI={WEB}" in shown, shown
    assert fresh.count(fresh.server, "ssl.handshake") > 0


def test_strict_lets_nobody_in_without(fresh):
    """What comes in the clear finds no filter chain, and is counted."""
    before = fresh.count(fresh.server, "no_filter_chain_match")
    fresh.control.apply("rules.yaml", demand("STRICT"))
    until(lambda: fresh.direct() is None, 15, "plain connections to be refused")
    assert fresh.asked()[0] == 200
    assert fresh.count(fresh.server, "no_filter_chain_match") > before


def test_disable_speaks_in_the_clear(fresh):
    fresh.control.apply("rules.yaml", demand("DISABLE"))
    fresh.becomes(200, False)
    assert fresh.direct() == 200


def test_policies_know_who_comes(fresh):
    fresh.control.apply("rules.yaml", allow("other"))
    until(lambda: fresh.asked()[0] == 403, 15, "another's requests to be refused")
    assert fresh.direct() == 403
    fresh.control.apply("rules.yaml", allow("web"))
    fresh.becomes(200, True)
    assert fresh.direct() == 403


def test_a_wrong_identity_is_refused_by_the_client(fresh):
    """The shop is not who the rule names."""
    before = fresh.count(fresh.client, "ssl.fail_verify_san")
    fresh.control.apply("rules.yaml", expect("spiffe://cluster.local/ns/default/sa/bank"))
    until(lambda: fresh.asked()[0] == 503, 15, "the shop to be refused")
    assert fresh.count(fresh.client, "ssl.fail_verify_san") > before
    fresh.control.apply("rules.yaml", expect(SHOP))
    fresh.becomes(200, True)


def test_strangers_are_refused_by_the_server(fresh, tmp_path):
    """Of another root, or late; each is counted."""
    assert not fresh.refused(fresh.issue("guest", 3600))
    before = fresh.count(fresh.server, "ssl.fail_verify_error")
    foreign = Authority(tmp_path, "foreign").issue("web", f"URI:{WEB}")
    assert fresh.refused(foreign)
    until(lambda: fresh.count(fresh.server, "ssl.fail_verify_error") > before, 5, "a foreign root")
    before = fresh.count(fresh.server, "ssl.fail_verify_error")
    late = fresh.issue("late", 1)
    until(lambda: fresh.refused(late), 15, "the certificate to end")
    until(lambda: fresh.count(fresh.server, "ssl.fail_verify_error") > before, 5, "a late one")


class Stream:
    """A client of discovery that asks for secrets."""

    def __init__(self, channel, delta, *wanted):
        self.delta = delta
        self.requests = queue.SimpleQueue()
        node = field(1, "sidecar~127.0.0.1~web-1.default~default.svc.cluster.local")
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        first = field(1, node) + field(2, kind) if delta else field(2, node) + field(4, kind)
        self.requests.put(first + b"".join(field(3, name) for name in wanted))
        variant = "Delta" if delta else "Stream"
        self.call = channel.stream_stream(
            f"/envoy.service.discovery.v3.AggregatedDiscoveryService/{variant}AggregatedResources"
        )(iter(self.requests.get, None), timeout=20)

    def secrets(self):
        """The next response, by names; what is removed is nothing."""
        answer = parse(next(self.call))
        anys = answer.get(2, [])
        if self.delta:
            anys = [parse(one)[2][0] for one in anys]
        found = [parse(parse(one)[2][0]) for one in anys]
        return {**{name.decode(): None for name in answer.get(6, [])},
                **{text(one, 1): one for one in found}}


@pytest.mark.parametrize("delta", [False, True], ids=["world", "delta"])
def test_only_who_is_known_is_sent_a_key(tmp_path, delta):
    """And only their own; others are told, where people look."""
    control = MeshControl(tmp_path)
    ca = tmp_path / "ca"
    control.start("--ca-dir", str(ca), "--secure-grpc-addr", "127.0.0.1:0")
    secure = int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)", control.output())[-1])
    roots = (ca / "root-cert.pem").read_bytes()
    web = Caller(tmp_path, secure, roots, join_token(ca, "default/web"))
    web.issued = web.ask()
    with web.channel() as channel:
        found = Stream(channel, delta, "default", "ROOTCA", "other").secrets()
        certificate = parse(found["default"][2][0])
        chain = parse(certificate[1][0])[2][0]
        assert names(chain)[0] == f"URI:{WEB}"
        assert parse(certificate[2][0])[2][0].startswith(b"-----BEGIN PRIVATE KEY")
        assert parse(parse(found["ROOTCA"][4][0])[1][0])[2][0] == roots
        assert not found.get("other")
    with grpc.insecure_channel(f"127.0.0.1:{control.port}") as channel:
        stream = Stream(channel, delta, "default", "ROOTCA")
        if delta:
            assert stream.secrets() == {"default": None, "ROOTCA": None}

        def told():
            proxies = json.loads(control.get("/debug/syncz"))
            kinds = [kind for one in proxies for kind in one["types"] if kind["type"] == "SDS"]
            return any(kind["state"] == "NOT SENT" and "secured port" in kind["reason"]
                       for kind in kinds)

        until(told, 10, "the reason to be shown")
        stream.call.cancel()
    control.stop()


@pytest.mark.unsanitized("what lives for seconds needs a quick program")
def test_certificates_and_roots_are_replaced_under_load(tmp_path):
    """Lives of seconds, a connection for each request: none fails."""
    pair = Pair(("fairlead", "envoy"), tmp_path, True, "--root-ttl", "14s", "--max-cert-ttl", "4s",
                "--cert-ttl", "4s")
    pair.control.apply("rules.yaml", demand("STRICT") + """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec: {host: shop, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
""")
    until(lambda: pair.direct() is None, 10, "plain connections to be refused")
    failures, done = [], threading.Event()

    def load():
        while not done.is_set():
            status, shown = pair.asked()
            if status != 200 or WEB not in shown:
                failures.append((status, shown))

    thread = threading.Thread(target=load)
    thread.start()
    until(lambda: pair.control.output().count("authority has changed") > 1
          and "signs from now on" in pair.control.output(), 30, "the next root to sign")
    before = pair.count(pair.server, "ssl_context_update_by_sds")
    until(lambda: pair.count(pair.server, "ssl_context_update_by_sds") > before + 2, 15,
          "certificates of the next root")
    done.set()
    thread.join()
    assert not failures, failures[:3]
    assert pair.count(pair.server, "ssl.handshake") > 20
    pair.stop()
