"""The proxy that asks for its own certificate, and speaks with it."""

import json
import pathlib
import re
import ssl
import subprocess
from dataclasses import dataclass

import pytest

from harness.certificates import Identity
from harness.client import request_bytes
from harness.control import ADS, ads_cluster, proxy_bootstrap
from harness.discovery import named_secret
from harness.identity import Workload, join_token, names, openssl
from harness.ports import free_port
from harness.proxy import Proxy, StartFailure, fairlead_binary
from harness.simple import listener
from harness.tls import TLSConnection, downstream_tls, upstream_tls
from harness.waiting import until

CART = "spiffe://cluster.local/ns/shop/sa/cart"


@dataclass
class Trusted:
    """Whom a client believes."""

    certificate: pathlib.Path


class Own:
    """A control plane with an authority, and a proxy that has its certificate from it."""

    def __init__(self, control, directory, by_name):
        self.directory, self.by_name = directory, by_name
        self.ca, self.certs = directory / "ca", directory / "certs"
        self.control = control(ads_cluster("a"), start=False)
        self.control.start("--ca-dir", str(self.ca), "--secure-grpc-addr", "127.0.0.1:0")
        self.secure = self.secure_port()
        self.token = directory / "token"
        self.token.write_text(join_token(self.ca, "shop/cart") + "\n")
        self.port = free_port()
        self.proxy = Proxy("fairlead")

    def secure_port(self):
        """Where it serves over TLS."""
        return int(re.findall(r"over TLS on 127\.0\.0\.1:(\d+)", self.control.output())[-1])

    def flags(self, lasting=0):
        """The proxy's command line."""
        return ("--concurrency", "1", "--ca-address", f"127.0.0.1:{self.secure}",
                "--ca-root-path", str(self.ca / "root-cert.pem"), "--ca-token-path",
                str(self.token), "--cert-dir", str(self.certs), "--cert-ttl-s", str(lasting))

    def common(self):
        """Its certificate, and whom it believes: files, or secrets as Istio names them."""
        if self.by_name:
            return {
                "tls_certificate_sds_secret_configs": [named_secret("default", ADS)],
                "combined_validation_context": {
                    "default_validation_context": {},
                    "validation_context_sds_secret_config": named_secret("ROOTCA", ADS)}}
        return {
            "tls_certificates": [{
                "certificate_chain": {"filename": str(self.certs / "cert-chain.pem")},
                "private_key": {"filename": str(self.certs / "key.pem")}}],
            "validation_context": {"trusted_ca": {"filename": str(self.certs / "root-cert.pem")}}}

    def document(self):
        """A listener that demands a certificate, and everything else over mutual TLS."""
        document = proxy_bootstrap(self.secure, free_port(), True)
        document["node"]["id"] = "sidecar~10.0.0.1~web.shop~x"
        document["static_resources"]["clusters"][0]["transport_socket"] = upstream_tls(
            common_tls_context=self.common())
        quickly = {**ADS, "initial_fetch_timeout": "0.5s"}
        document["dynamic_resources"].update(cds_config=quickly, lds_config=quickly)
        one = listener("main", self.port)
        manager = one["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"] = {"name": "r", "virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}
        one["filter_chains"][0]["transport_socket"] = downstream_tls(
            require_client_certificate=True, common_tls_context=self.common())
        document["static_resources"]["listeners"] = [one]
        return document

    def start(self, lasting=0, **options):
        """Starts the proxy."""
        self.proxy.start(self.document(), self.flags(lasting), **options)
        return self

    def certificate(self):
        """What lies in the directory."""
        return (self.certs / "cert-chain.pem").read_bytes()

    def shown(self, issued):
        """The certificate that the listener shows a client with this one, and its answer."""
        for name, data in [("key", issued.key), ("cert", issued.certificate)]:
            (self.directory / f"client.{name}").write_bytes(data)
        (self.directory / "client.roots").write_bytes(issued.roots)
        mine = Identity(self.directory / "client.cert", self.directory / "client.key")
        with TLSConnection(self.port, Trusted(self.directory / "client.roots"), mine) as client:
            client.send(request_bytes("GET", "/"))
            status = client.read_response("GET").status
            return ssl.DER_cert_to_PEM_cert(client.socket.getpeercert(True)), status

    def stop(self):
        """Ends the proxy."""
        self.proxy.stop()


@pytest.fixture
def by_name():
    """Whether the configuration names secrets, in place of files."""
    return False


@pytest.fixture
def own(control, tmp_path, by_name):
    """One, with the proxy not started yet."""
    made = Own(control, tmp_path, by_name)
    yield made
    made.stop()


named = pytest.mark.parametrize("by_name", [False, True], ids=["files", "secrets"])


@named
def test_it_serves_and_asks_with_its_own_certificate(own):
    """From the token alone: discovery over mutual TLS, and a listener that demands it."""
    own.start()
    assert names(own.certificate()) == (f"URI:{CART}", True)
    assert (own.certs / "key.pem").stat().st_mode & 0o777 == 0o600
    name = "cluster_manager.cds.update_success"
    until(lambda: own.proxy.stats(name).get(name) == 1, 10, "clusters to come")
    other = Workload(own.directory, own.secure, (own.ca / "root-cert.pem").read_bytes(),
                     join_token(own.ca, "bank/teller")).ask()
    shown, status = own.shown(other)
    assert status == 200 and names(shown.encode()) == (f"URI:{CART}", True)
    assert "PRIVATE" not in own.proxy.output()
    if own.by_name:
        assert own.proxy.stat("sds.default.update_success") == 1
        shown = json.loads(own.proxy.admin("/config_dump?resource=dynamic_active_secrets").body)
        assert sorted(one["name"] for one in shown["configs"]) == ["ROOTCA", "default"]
        assert "PRIVATE KEY" not in json.dumps(shown)
    assert own.token.read_text().strip() not in own.proxy.output()


@named
@pytest.mark.unsanitized("certificates that live for seconds need a quick program")
def test_it_renews_before_the_end(own):
    """With the certificate itself: the token was good once. Clients see the newer one."""
    own.start(lasting=4)
    first = own.certificate()
    until(lambda: own.certificate() != first, 10, "another certificate")
    other = Workload(own.directory, own.secure, (own.ca / "root-cert.pem").read_bytes(),
                     join_token(own.ca, "bank/teller")).ask()
    serial = ["x509", "-noout", "-serial"]

    def followed():
        # The one that is there may be renewed while we look.
        before = openssl(*serial, data=own.certificate())
        shown, status = own.shown(other)
        return status == 200 and openssl(*serial, data=shown.encode()) == before \
            and before != openssl(*serial, data=first)

    until(followed, 10, "clients to see it")
    until(lambda: own.control.output().count(f"issued to {CART}") > 2, 10, "a third one")


def test_it_starts_again_with_what_it_has(own):
    """The authority may be away, and the token used."""
    own.start()
    own.proxy.stop()
    first = own.certificate()
    own.control.stop()
    own.start()
    assert own.certificate() == first
    assert own.proxy.stats("server.live")["server.live"] == 1


def test_it_waits_for_an_authority(own):
    """Nothing is read before there is a certificate; each attempt tells why not."""
    token = own.token.read_text()
    own.token.write_text("join.AAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    own.start(wait=False)
    until(lambda: "the join token is not known" in own.proxy.output(), 10, "a refusal")
    own.token.write_text(token)
    own.proxy.wait_ready()
    assert names(own.certificate())[0] == f"URI:{CART}"


def test_a_certificate_that_cannot_be_kept_ends_the_start(own):
    """There is no use in going on."""
    own.certs = own.token / "below-a-file"
    with pytest.raises(StartFailure) as caught:
        own.start()
    assert "error: cannot make the directory" in str(caught.value)


@pytest.mark.parametrize("arguments, words", [
    (["--ca-address", "127.0.0.1:1"], "--ca-address needs --ca-root-path"),
    (["--cert-dir", "x"], "need --ca-address"),
    (["--ca-address", "mesh:1", "--ca-root-path", "r", "--ca-token-path", "t", "--cert-dir", "d"],
     "'mesh:1' is no address"),
])
def test_half_a_command_line_is_refused(arguments, words):
    done = subprocess.run([fairlead_binary(), "-c", "x", *arguments], capture_output=True,
                          text=True, timeout=20, check=False)
    assert done.returncode == 64 and words in done.stderr


