"""What access logs tell of TLS: the same as Envoy's, operator by operator."""

import ssl

import pytest

from harness.certificates import Authority
from harness.client import request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.tls import TLSConnection, downstream_tls
from harness.upstream import Upstream, reply

OF_CERTIFICATES = [
    "SUBJECT", "URI_SAN", "DNS_SAN", "IP_SAN", "EMAIL_SAN"]
OPERATORS = [
    *(f"DOWNSTREAM_LOCAL_{name}" for name in OF_CERTIFICATES),
    *(f"DOWNSTREAM_PEER_{name}" for name in OF_CERTIFICATES),
    *(f"DOWNSTREAM_PEER_{name}" for name in (
        "ISSUER", "SERIAL", "FINGERPRINT_1", "FINGERPRINT_256", "CERT", "CERT_V_START",
        "CERT_V_END")),
    "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_GROUP"]
SANS = ("DNS:{0}.example,DNS:other.example,URI:spiffe://mesh/{0},IP:127.0.0.5,IP:fd00::5,"
        "email:{0}@mesh.example,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:{0}@mesh")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("has_certificate", [True, False])
def test_every_operator_of_tls(proxy_kind, tmp_path, version, has_certificate):
    """With a client that shows who it is, and with one that does not."""
    authority = Authority(tmp_path)
    server = authority.issue("server", SANS.format("server"))
    client = authority.issue("client", SANS.format("client"))
    told = {}
    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), tmp_path / f"{kind}.log"
        line = "".join(f"%{name}%\n" for name in OPERATORS)
        config = listener("main", port, access_log=(log, line))
        config["filter_chains"][0]["transport_socket"] = downstream_tls(
            common_tls_context=server.common(validation_context=authority.trust))
        with Upstream(reply()) as upstream, Proxy(kind) as proxy:
            proxy.start(bootstrap([config], [cluster("up", upstream.port)], free_port()))
            identity = client if has_certificate else None
            with TLSConnection(port, authority, identity, version=version) as connection:
                connection.send(request_bytes())
                assert connection.read_response().status == 200
            proxy.stop()
        told[kind] = dict(zip(OPERATORS, log.read_text().splitlines(), strict=True))
    assert told[proxy_kind] == told["envoy"]
