"""Certificates from the control plane, and who may speak with it, with openssl and grpcio as clients."""

import os
import re
import subprocess
import time

import grpc
import pytest

from harness.certificates import Authority
from harness.client import fetch
from harness.control import CLUSTER, ads_cluster, proxy_bootstrap
from harness.identity import (
    Issuer, Workload, join_token, names, new_key, new_request, openssl, seconds)
from harness.ports import free_port
from harness.proxy import Proxy
from harness.protobuf import field, parse, text
from harness.tls import upstream_tls
from harness.waiting import until

CART = "spiffe://cluster.local/ns/shop/sa/cart"
SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


class Authenticated:
    """A control plane with a certificate authority."""

    def __init__(self, control, directory, *options):
        self.directory = directory
        self.ca = directory / "ca"
        self.control = control(ads_cluster("a"), start=False)
        self.control.start("--ca-dir", str(self.ca), "--secure-grpc-addr", "127.0.0.1:0", *options)
        self.port = int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)", self.control.output())[-1])

    @property
    def roots(self):
        """What clients trust."""
        return (self.ca / "root-cert.pem").read_bytes()

    def workload(self, token=None, issued=None, roots=None):
        """Somebody who calls."""
        return Workload(self.directory, self.port, roots or self.roots, token, issued)

    def token(self, who="shop/cart", *options):
        """A join token."""
        return join_token(self.ca, who, *options)


@pytest.fixture
def secured(control, tmp_path):
    """Makes control planes with a certificate authority."""
    return lambda *options: Authenticated(control, tmp_path, *options)


def verified(issued, directory):
    """Whether openssl believes a certificate."""
    for name, data in [("leaf", issued.certificate), ("roots", issued.roots)]:
        (directory / f"{name}.pem").write_bytes(data)
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", directory / "roots.pem", "-untrusted",
         directory / "leaf.pem", directory / "leaf.pem"], capture_output=True, check=False)
    return done.returncode == 0


def test_a_join_token_buys_one_certificate(secured, tmp_path):
    """The identity is the token's, whatever the request says."""
    plane = secured()
    token = plane.token()
    workload = plane.workload(token)
    issued = workload.ask(name="spiffe://cluster.local/ns/bank/sa/vault")
    assert names(issued.certificate) == (f"URI:{CART}", True)
    assert seconds(issued.certificate) == 86_400 + 120
    assert verified(issued, tmp_path)
    code, words = workload.refusal()
    assert (code, words) == ("UNAUTHENTICATED", "the join token is not known, or has been used")
    output = plane.control.output()
    assert f"certificate issued to {CART}" in output
    assert token.split(".")[2] not in output and "PRIVATE" not in output


def test_a_bad_request_does_not_cost_the_token(secured):
    """What is refused for another reason leaves the token as it was."""
    plane = secured("--max-cert-ttl", "100s", "--cert-ttl", "50s")
    workload = plane.workload(plane.token())
    assert workload.refusal(request=b"nonsense")[0] == "INVALID_ARGUMENT"
    good = new_request(plane.directory, new_key())
    lines = good.decode().splitlines()
    lines[2] = lines[2][:-1] + ("A" if lines[2][-1] != "A" else "B")
    assert workload.refusal(request="\n".join(lines).encode())[0] == "INVALID_ARGUMENT"
    weak = plane.directory / "weak.key"
    weak.write_bytes(openssl("genrsa", "1024"))
    small = openssl("req", "-new", "-key", weak, "-subj", "/")
    assert "neither RSA of 2048" in workload.refusal(request=small)[1]
    assert workload.refusal(request=good, lasting=101) == (
        "INVALID_ARGUMENT", "validity_duration is more than 100 seconds")
    entry = field(1, "ImpersonatedIdentity") + field(2, field(3, "x"))
    assert workload.refusal(request=good, more=field(4, field(1, entry))) == (
        "INVALID_ARGUMENT", "metadata 'ImpersonatedIdentity' is not supported")
    assert seconds(workload.ask(request=good).certificate) == 50 + 120


@pytest.mark.unsanitized("what lives for seconds needs a quick program")
def test_a_token_for_a_while(secured):
    """It is good until it expires, for discovery too."""
    plane = secured()
    workload = plane.workload(plane.token("shop/cart", "--token-reusable", "--token-ttl", "2s"))
    assert workload.ask().chain and workload.ask().chain
    until(lambda: _refused(workload), 10, "the token to expire")
    assert workload.refusal()[0] == "UNAUTHENTICATED"


def _refused(workload):
    try:
        workload.ask()
    except grpc.RpcError:
        return True
    return False


@pytest.mark.unsanitized("what lives for seconds needs a quick program")
def test_a_certificate_renews_itself(secured):
    """Until it has expired; then it opens no connection."""
    plane = secured()
    first = plane.workload(plane.token()).ask(lasting=3)
    second = plane.workload(issued=first).ask(lasting=3600)
    assert names(second.certificate) == (f"URI:{CART}", True)
    time_left = 3 - seconds(first.certificate) + 120
    assert time_left == 0
    until(lambda: _refused(plane.workload(issued=first)), 10, "the certificate to expire")
    plane.control.wait_log("certificate has expired")
    assert plane.workload(issued=second).ask().chain


def test_foreign_certificates_open_no_connection(secured, tmp_path):
    """Nor does one that names nobody of the mesh buy anything."""
    plane = secured()
    other = Authority(tmp_path, "other").issue("x", f"URI:{CART}")

    class Foreign:
        """As if it had been issued."""
        key, certificate = other.key.read_bytes(), other.certificate.read_bytes()

    code, _ = plane.workload(issued=Foreign).refusal()
    assert code == "UNAVAILABLE"
    plane.control.wait_log("certificate verification error")


def test_without_anything_to_show(secured):
    """Neither certificates nor discovery."""
    plane = secured()
    assert plane.workload().refusal() == (
        "UNAUTHENTICATED", "neither a client certificate nor a bearer token was shown")
    assert plane.workload("join.abc.def").refusal()[0] == "UNAUTHENTICATED"
    assert discover(plane.workload(), "sidecar~10.0.0.1~web.shop~x")[0] == "UNAUTHENTICATED"


def test_the_plain_port_issues_nothing(secured):
    """A token is for no wire that others read."""
    plane = secured()
    token = plane.token()
    with grpc.insecure_channel(f"127.0.0.1:{plane.control.port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")(
                field(1, b"x"), metadata=[("authorization", f"Bearer {token}")], timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert plane.workload(token).ask().chain


def discover(workload, node, namespace=None):
    """The first answer about clusters, or the refusal."""
    metadata = b""
    if namespace:
        entry = field(1, "NAMESPACE") + field(2, field(3, namespace))
        metadata = field(3, field(1, entry))
    request = field(2, field(1, node) + metadata) + field(4, CLUSTER)
    with workload.channel() as channel:
        call = channel.stream_stream(SERVICE + "StreamAggregatedResources")(
            iter([request]), metadata=workload.metadata, timeout=10)
        try:
            return parse(next(call))
        except grpc.RpcError as error:
            return error.code().name, error.details()


def test_discovery_for_whom_one_is(secured):
    """A proxy has to live where its identity does."""
    plane = secured()
    issued = plane.workload(plane.token()).ask()
    workload = plane.workload(issued=issued)
    answer = discover(workload, "sidecar~10.0.0.1~web.shop~x")
    assert text(answer, 4) == CLUSTER
    assert text(discover(workload, "anything", "shop"), 4) == CLUSTER
    for node, namespace in [("sidecar~10.0.0.1~web.bank~x", None), ("web", None),
                            ("sidecar~10.0.0.1~web.shop~x", "bank")]:
        assert discover(workload, node, namespace)[0] == "PERMISSION_DENIED"
    plane.control.wait_log("says that it lives in namespace 'bank'")
    lasting = plane.workload(plane.token("shop/cart", "--token-reusable"))
    assert text(discover(lasting, "sidecar~10.0.0.1~web.shop~x"), 4) == CLUSTER
    once = plane.workload(plane.token())
    assert discover(once, "sidecar~10.0.0.1~web.shop~x")[0] == "UNAUTHENTICATED"
    assert once.ask().chain


def test_tokens_of_an_issuer(secured, tmp_path):
    """As Kubernetes makes them for service accounts; keys are followed."""
    issuer = Issuer(tmp_path)
    plane = secured("--jwt-issuer", issuer.name, "--jwks-path", str(issuer.keys))
    soon = time.time() + 600
    workload = plane.workload(issuer.token(soon))
    assert names(workload.ask().certificate) == (f"URI:{CART}", True)
    for token, words in [
            (issuer.token(time.time() - 100), "has expired"),
            (issuer.token(soon, audience="api"), "is meant for somebody else"),
            (issuer.token(soon, subject="alice"), "names no service account"),
            (issuer.token(soon)[:-8] + "AAAAAAAA", "has a wrong signature"),
            ("x.y.z", "is no signed JSON web token")]:
        code, said = plane.workload(token).refusal()
        assert code == "UNAUTHENTICATED" and words in said and token not in said
    old = issuer.token(soon)
    newer = Issuer(tmp_path)
    plane.control.wait_log("has changed: taken over")
    assert plane.workload(newer.token(soon)).ask().chain
    assert "wrong signature" in plane.workload(old).refusal()[1]


def give(authority, directory, extra=b""):
    """Puts an intermediate of this root where the control plane looks; two at a time never fit."""
    stem = directory / "intermediate"
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", stem.with_suffix(".key"), "-out",
            stem.with_suffix(".csr"), "-subj", "/O=intermediate")
    stem.with_suffix(".ext").write_text("basicConstraints=critical,CA:TRUE\n")
    openssl("x509", "-req", "-in", stem.with_suffix(".csr"), "-CA", authority.certificate, "-CAkey",
            authority.key, "-CAcreateserial", "-days", "30", "-out", stem.with_suffix(".pem"),
            "-extfile", stem.with_suffix(".ext"))
    ca = directory / "ca"
    ca.mkdir(exist_ok=True)
    certificate = stem.with_suffix(".pem").read_bytes()
    for name, data in [("root-cert.pem", authority.certificate.read_bytes() + extra),
                       ("cert-chain.pem", certificate), ("ca-cert.pem", certificate),
                       ("ca-key.pem", stem.with_suffix(".key").read_bytes())]:
        (ca / "fresh").write_bytes(data)
        os.replace(ca / "fresh", ca / name)


def test_a_given_authority_and_its_successor(secured, tmp_path):
    """Both roots are trusted while one takes over from the other."""
    old = Authority(tmp_path, "old root")
    give(old, tmp_path)
    plane = secured()
    first = plane.workload(plane.token()).ask()
    assert len(first.chain) == 3 and first.roots == old.certificate.read_bytes()
    assert verified(first, tmp_path)
    new = Authority(tmp_path, "new root")
    give(new, tmp_path, old.certificate.read_bytes())
    plane.control.wait_log("the certificate authority has changed")
    second = plane.workload(issued=first).ask()
    assert verified(second, tmp_path)
    assert second.roots == new.certificate.read_bytes() + old.certificate.read_bytes()
    # Who has the old certificate and who has the new one are both believed.
    assert plane.workload(issued=first).ask().chain
    assert plane.workload(issued=second).ask().chain
    # A change that does not fit together changes nothing.
    (tmp_path / "ca" / "ca-key.pem").write_bytes(new_key())
    plane.control.wait_log("changed certificate authority refused, the old one stays")
    assert plane.workload(issued=second).ask().chain


def test_a_root_of_its_own_outlives_a_restart(secured, tmp_path):
    """It is made once, and nobody else reads it."""
    plane = secured()
    roots = plane.roots
    assert os.stat(plane.ca / "self-signed.pem").st_mode & 0o777 == 0o600
    assert plane.control.stop() == 0
    plane.control.port = 0
    again = Authenticated(lambda *_, **__: plane.control, tmp_path)
    assert again.roots == roots


@pytest.mark.unsanitized("what lives for seconds needs a quick program")
def test_a_root_is_replaced_while_both_are_trusted(secured):
    """With lives of seconds; nobody is without a way in at any time."""
    plane = secured("--root-ttl", "24s", "--max-cert-ttl", "4s", "--cert-ttl", "4s")
    issued = plane.workload(plane.token()).ask()
    first = issued.roots
    deadline = time.monotonic() + 40
    while "signs from now on" not in plane.control.output():
        assert time.monotonic() < deadline
        issued = plane.workload(issued=issued, roots=issued.roots).ask()
    until(lambda: plane.control.output().count("authority has changed") > 1, 5, "the new root")
    issued = plane.workload(issued=issued, roots=issued.roots).ask()
    assert issued.roots.count(b"BEGIN") == 2 and first in issued.roots
    assert not issued.roots.startswith(first)


def test_what_is_counted(secured):
    """Under Istio's names, where there is one."""
    plane = secured("--http-addr", "127.0.0.1:0")
    port = int(re.findall(r"over HTTP on 127\.0\.0\.1:(\d+)", plane.control.output())[-1])
    workload = plane.workload(plane.token())
    workload.ask()
    workload.refusal()
    plane.workload(plane.token()).refusal(request=b"nonsense")
    said = dict(line.split() for line in fetch(port, "/metrics").body.decode().splitlines()
                if not line.startswith("#") and "{" not in line)
    counts = {name: float(said[f"citadel_server_{name}_count"]) for name in (
        "csr", "success_cert_issuance", "csr_parsing_err", "authentication_failure")}
    assert counts == {"csr": 3, "success_cert_issuance": 1, "csr_parsing_err": 1,
                      "authentication_failure": 1}
    assert float(said["citadel_server_root_cert_expiry_timestamp"]) > time.time()


def test_the_servers_certificate(secured, tmp_path):
    """Names by which it is called; HTTP/2 agreed upon."""
    plane = secured("--secure-name", "mesh.example")
    (tmp_path / "roots.pem").write_bytes(plane.roots)
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{plane.port}", "-CAfile",
         tmp_path / "roots.pem", "-alpn", "h2", "-servername", "mesh.example",
         "-verify_hostname", "mesh.example", "-verify_return_error"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False).stdout
    assert "Verify return code: 0 (ok)" in said
    assert "ALPN protocol: h2" in said


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
@pytest.mark.parametrize("delta", [False, True])
def test_a_proxy_with_a_certificate(secured, tmp_path, kind, delta):
    """Fairlead, and the real Envoy, over mutual TLS."""
    plane = secured()
    issued = plane.workload(plane.token()).ask()
    for name, data in [("key", issued.key), ("cert", issued.certificate), ("ca", issued.roots)]:
        (tmp_path / f"proxy.{name}").write_bytes(data)
    document = proxy_bootstrap(plane.port, free_port(), delta)
    document["node"]["id"] = "sidecar~10.0.0.1~web.shop~x"
    istiod = {"san_type": "URI", "matcher": {
        "exact": "spiffe://cluster.local/ns/istio-system/sa/istiod"}}
    document["static_resources"]["clusters"][0]["transport_socket"] = upstream_tls(
        common_tls_context={
            "tls_certificates": [{
                "certificate_chain": {"filename": str(tmp_path / "proxy.cert")},
                "private_key": {"filename": str(tmp_path / "proxy.key")}}],
            "validation_context": {
                "trusted_ca": {"filename": str(tmp_path / "proxy.ca")},
                "match_typed_subject_alt_names": [istiod]}})
    proxy = Proxy(kind)
    try:
        proxy.start(document, ("--concurrency", "1"))
        name = "cluster_manager.cds.update_success"
        until(lambda: proxy.stats(name).get(name) == 1, 10, "clusters to come")
        assert proxy.stats("control_plane.connected_state")["control_plane.connected_state"] == 1
        # Where it says that it lives is part of what it is asked.
        plane.control.wait_log("node 'sidecar~10.0.0.1~web.shop~x'")
    finally:
        proxy.stop()
