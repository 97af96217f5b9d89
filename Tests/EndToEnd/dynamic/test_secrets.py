"""Certificates and authorities that are named: secrets of the bootstrap, and from files (SDS by
`path_config_source`)."""

import pytest

from harness.certificates import Authority
from harness.client import request_bytes
from harness.discovery import (
    SECRETS, ResourceFile, certificate_secret, named_secret, trust_secret)
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.tls import TLSConnection, downstream_tls
from harness.upstream import Upstream, reply
from harness.waiting import until


@pytest.fixture
def authority(tmp_path):
    """Signs everything here."""
    return Authority(tmp_path)


class Served:
    """A proxy with two listeners whose TLS takes its certificate by name."""

    def __init__(self, kind):
        self.proxy = Proxy(kind)
        self.upstream = Upstream(reply())
        self.ports = [free_port(), free_port()]
        self.port = self.ports[0]

    def document(self, common, secrets=()):
        """Its bootstrap."""
        listeners = [listener(f"main{n}", port) for n, port in enumerate(self.ports)]
        for one in listeners:
            one["stat_prefix"] = one["name"]
            one["filter_chains"][0]["transport_socket"] = downstream_tls(
                require_client_certificate=False, common_tls_context=common)
        made = bootstrap(listeners, [cluster("up", self.upstream.port)], free_port())
        made["static_resources"]["secrets"] = list(secrets)
        return made

    def start(self, *arguments):
        """Starts it, and returns it when it is ready."""
        self.proxy.start(self.document(*arguments), ("--concurrency", "2"))
        return self

    def shows(self, authority, port=None):
        """The serial number of the certificate that a new client is shown."""
        with TLSConnection(port or self.port, authority) as client:
            client.send(request_bytes())
            assert client.read_response().status == 200
            return client.socket.getpeercert()["serialNumber"]

    def stop(self):
        """Ends all of it."""
        self.proxy.stop()
        self.upstream.stop()


@pytest.fixture
def served(proxy_kind):
    """The proxy, not started yet."""
    made = Served(proxy_kind)
    yield made
    made.stop()


def named(name, source=None):
    """A context whose certificate is a secret."""
    return {"tls_certificate_sds_secret_configs": [named_secret(name, source)]}


def test_secrets_of_the_bootstrap(served, authority):
    """By name alone."""
    secrets = [certificate_secret("own", authority.issue("a", "DNS:a.example")),
               trust_secret("roots", authority)]
    served.start({**named("own"), "validation_context_sds_secret_config": named_secret(
        "roots", None)}, secrets)
    assert served.shows(authority)
    assert b'"[redacted]"' in served.proxy.admin("/config_dump?resource=static_secrets").body


def test_secrets_follow_their_file(served, authority, tmp_path):
    """Two listeners share one subscription; what is open keeps its certificate."""
    file = ResourceFile(tmp_path / "own.yaml")
    file.put(SECRETS, certificate_secret("own", authority.issue("a", "DNS:a.example")))
    served.start(named("own", file.source))
    first = served.shows(authority)
    with TLSConnection(served.port, authority) as kept:
        file.put(SECRETS, certificate_secret("own", authority.issue("b", "DNS:a.example")))
        served.proxy.wait_stat("sds.own.update_success", 2)
        for port in served.ports:
            until(lambda port=port: served.shows(authority, port) != first, 5, "the new one")
        kept.send(request_bytes())
        assert kept.read_response().status == 200
    assert served.proxy.stat("sds.own.update_attempt") == 2
    stat = "listener.main0.server_ssl_socket_factory.ssl_context_update_by_sds"
    served.proxy.wait_stat(stat, 2)


BAD = {
    "another name": lambda a: certificate_secret("other", a.issue("b", "DNS:a.example")),
    "another kind": lambda a: trust_secret("own", a),
    "nothing in it": lambda a: {"name": "own"},
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_version_changes_nothing(served, authority, tmp_path, proxy_kind, what):
    """The last good certificate stays, and a good one comes through."""
    if proxy_kind == "envoy":
        pytest.skip("Envoy takes a secret of another kind for none")
    file = ResourceFile(tmp_path / "own.yaml")
    file.put(SECRETS, certificate_secret("own", authority.issue("a", "DNS:a.example")))
    served.start(named("own", file.source))
    first = served.shows(authority)
    file.put(SECRETS, BAD[what](authority))
    served.proxy.wait_stat("sds.own.update_rejected", 1)
    assert served.shows(authority) == first
    file.put(SECRETS, certificate_secret("own", authority.issue("c", "DNS:a.example")))
    until(lambda: served.shows(authority) != first, 5, "the good one")


@pytest.mark.parametrize("common, word", [
    (named("absent"), "absent"),
    (named("own", {"path_config_source": {"path": "/nowhere.yaml"}}), "nowhere.yaml"),
    (named("own", {"ads": {}}), "ads"),
])
def test_what_leads_nowhere_is_a_mistake(served, proxy_kind, common, word):
    """The configuration is refused, with the word that is wrong."""
    if proxy_kind == "envoy":
        pytest.skip("Envoy says less of some")
    code, output = served.proxy.validate(served.document(common))
    assert code != 0 and word in output, output
