"""What a stranger finds who looks at a listener's TLS: sslyze, with Mozilla's intermediate profile."""

import subprocess
import sys

import pytest

from harness.certificates import Identity
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import listener
from harness.tls import downstream_tls

AUTHORITY = "keyUsage=critical,keyCertSign,cRLSign"
LEAF = ("subjectAltName=DNS:server.example\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n")
KEYS = {"rsa": ("rsa:2048",), "ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")}


def openssl(*arguments):
    """Runs the program."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path):
    """A certificate and key with all that path validation by RFC 5280 asks for."""
    one = Identity(tmp_path / "ca.pem", tmp_path / "ca.key")
    openssl("req", "-x509", "-newkey", *KEYS["ecdsa"], "-nodes", "-keyout", one.key, "-out",
            one.certificate, "-days", "30", "-subj", "/CN=authority", "-addext", AUTHORITY)
    return one


def issue(authority, directory, kind):
    """A leaf with an RSA or an ECDSA key."""
    one = Identity(directory / f"{kind}.pem", directory / f"{kind}.key")
    request, extensions = directory / f"{kind}.csr", directory / "leaf.ext"
    extensions.write_text(LEAF)
    openssl("req", "-newkey", *KEYS[kind], "-nodes", "-keyout", one.key, "-out", request, "-subj",
            "/CN=server.example")
    openssl("x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key,
            "-CAcreateserial", "-out", one.certificate, "-days", "30", "-extfile", extensions)
    return one


@pytest.mark.parametrize("kinds", [("rsa",), ("ecdsa",), ("rsa", "ecdsa")], ids="+".join)
def test_a_listener_is_of_the_intermediate_profile(proxy_kind, tmp_path, authority, kinds):
    """By default, with a certificate of either kind and with both; sslyze ends with 0 if so."""
    if proxy_kind == "envoy":
        pytest.skip("Envoy's defaults are its own")
    common = {"tls_certificates": [
        issue(authority, tmp_path, kind).common()["tls_certificates"][0] for kind in kinds]}
    port = free_port()
    config = listener("main", port, [{"match": {"prefix": "/"}, "direct_response": {
        "status": 200}}])
    config["filter_chains"][0]["transport_socket"] = downstream_tls(common_tls_context=common)
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([config], [], free_port()))
        done = subprocess.run(
            [sys.executable, "-m", "sslyze", "--mozilla_config=intermediate", "--sni",
             "server.example", "--certinfo_ca_file", authority.certificate, f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
    output = done.stdout.decode()
    assert "OK - Compliant" in output and done.returncode == 0, output[-2000:]
    for kind in kinds:
        assert f"_{kind.upper()}_WITH_AES_128_GCM_SHA256" in output, output
