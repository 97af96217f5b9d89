"""The proxy's stream to a control plane that speaks TLS: grpcio's server on the other side."""

import os

import pytest

from harness.ads import CLUSTER, ScriptedControl
from harness.certificates import Authority
from harness.control import ADS, proxy_bootstrap
from harness.ports import free_port
from harness.proxy import Proxy
from harness.tls import upstream_tls
from harness.waiting import until


@pytest.fixture
def authority(tmp_path):
    """Signs everything here."""
    return Authority(tmp_path)


@pytest.fixture
def secured(authority):
    """A control plane that asks for a client certificate."""
    server = authority.issue("control", "DNS:control.example,URI:spiffe://mesh/control")
    with ScriptedControl(server, authority) as made:
        yield made


class Client:
    """A proxy whose cluster `control` has this transport socket."""

    def __init__(self, kind, scripted):
        self.proxy = Proxy(kind)
        self.scripted = scripted

    def start(self, socket):
        """Starts, without waiting for an answer."""
        document = proxy_bootstrap(self.scripted.port, free_port(), False)
        document["static_resources"]["clusters"][0]["transport_socket"] = socket
        del document["dynamic_resources"]["lds_config"]
        document["dynamic_resources"]["cds_config"] = {**ADS, "initial_fetch_timeout": "0.2s"}
        self.proxy.start(document, ("--concurrency", "1"))
        return self

    def count(self, name):
        """A statistic of the cluster's TLS."""
        return self.proxy.stats(f"cluster.control.ssl.{name}").get(f"cluster.control.ssl.{name}", 0)


@pytest.fixture
def client(proxy_kind, secured):
    """The proxy, not started yet."""
    made = Client(proxy_kind, secured)
    yield made
    made.proxy.stop()


def socket(authority, identity=None, name="spiffe://mesh/control", kind="URI"):
    """TLS that believes one authority, and wants this name."""
    trust = {**authority.trust, "match_typed_subject_alt_names": [
        {"san_type": kind, "matcher": {"exact": name}}]}
    common = identity.common() if identity else {}
    return upstream_tls(sni="control.example",
                        common_tls_context={**common, "validation_context": trust})


def test_the_stream_goes_through_tls(client, secured, authority):
    """Both sides show a certificate; handshakes are counted with the cluster's."""
    client.start(socket(authority, authority.issue("proxy", "URI:spiffe://mesh/proxy")))
    first = secured.wait(CLUSTER)
    assert first.node[1] == [b"sidecar-1"]
    assert secured.peers == [[b"spiffe://mesh/proxy"]]
    until(lambda: client.count("handshake") == 1, 5, "the handshake to be counted")


@pytest.mark.parametrize("name, kind", [("spiffe://mesh/other", "URI"), ("other.example", "DNS")])
def test_another_name_is_refused(client, secured, authority, name, kind):
    """What signs for the control plane has to name it."""
    identity = authority.issue("proxy", "URI:spiffe://mesh/proxy")
    client.start(socket(authority, identity, name, kind))
    until(lambda: client.count("fail_verify_san") > 0, 10, "the name to be refused")
    assert not secured.requests


def test_a_foreign_authority_is_refused(client, secured, authority, tmp_path):
    """Nobody else vouches for it."""
    other = Authority(tmp_path, "other authority")
    client.start(socket(other, authority.issue("proxy", "URI:spiffe://mesh/proxy")))
    until(lambda: client.count("fail_verify_error") > 0, 10, "the chain to be refused")
    assert not secured.requests


def test_without_a_certificate_no_stream(client, secured, authority):
    """The server asks for one; the next attempt comes by itself."""
    client.start(socket(authority))
    until(lambda: client.proxy.stats("update_failure").get(
        "cluster_manager.cds.update_failure", 0) > 1, 20, "attempts to fail")
    assert not secured.requests


def test_a_renewed_certificate_is_shown_next_time(secured, authority):
    """Fairlead follows the files; the next stream begins with what is in them."""
    client = Client("fairlead", secured)
    identity = authority.issue("proxy", "URI:spiffe://mesh/proxy")
    client.start(socket(authority, identity))
    secured.wait(CLUSTER)
    newer = authority.issue("newer", "URI:spiffe://mesh/newer")
    os.replace(newer.key, identity.key)
    os.replace(newer.certificate, identity.certificate)
    until(lambda: "changed certificate taken over" in client.proxy.output(), 10, "the change")
    secured.restart()
    until(lambda: len(secured.peers) > 1, 10, "another stream")
    client.proxy.stop()
    assert secured.peers == [[b"spiffe://mesh/proxy"], [b"spiffe://mesh/newer"]]
