"""HTTP/2 through TLS on both sides: ALPN says what is spoken."""

import subprocess

import pytest

from harness.certificates import Authority
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.tls import downstream_tls, upstream_tls

HTTP2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http2_protocol_options": {}}}}
INSPECTOR = {"name": "tls", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}


@pytest.fixture
def front(proxy_kind, tmp_path):
    """Starts a front that speaks HTTP/2 to a back, both through TLS; its port and authority."""
    open_ = []

    def start(**manager):
        authority = Authority(tmp_path)
        secret = authority.issue("server", "DNS:server.example").common
        ports = free_port(), free_port()
        outer = listener("front", ports[0], **manager)
        outer["filter_chains"][0]["transport_socket"] = downstream_tls(
            common_tls_context=secret(alpn_protocols=["h2", "http/1.1"]))
        inner = listener("back", ports[1], [{"match": {"prefix": "/"}, "direct_response": {
            "status": 200, "body": {"inline_string": "back"}}}])
        # Nobody else's connections: the front has to offer h2.
        inner["listener_filters"] = [INSPECTOR]
        inner["filter_chains"][0].update(
            filter_chain_match={"application_protocols": ["h2"]},
            transport_socket=downstream_tls(common_tls_context=secret(alpn_protocols=["h2"])))
        up = cluster("up", ports[1], typed_extension_protocol_options=HTTP2,
                     transport_socket=upstream_tls(sni="server.example", common_tls_context={
                         "validation_context": authority.trust}))
        proxy = Proxy(proxy_kind).start(bootstrap([outer, inner], [up], free_port()))
        open_.append(proxy)
        return proxy, ports[0], authority

    yield start
    for proxy in open_:
        proxy.stop()


def curl(port, authority, *options):
    """Asks as a user would: (protocol, status, body)."""
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "10", "--cacert", authority.certificate, "--resolve",
         f"server.example:{port}:127.0.0.1", "--write-out", "\n%{http_version} %{http_code}",
         *options, f"https://server.example:{port}/"], stdout=subprocess.PIPE, check=False)
    body, _, rest = done.stdout.decode().rpartition("\n")
    return *rest.split(), body


@pytest.mark.parametrize("option,version", [("--http2", "2"), ("--http1.1", "1.1")])
def test_a_client_chooses_by_alpn(front, option, version):
    """The codec follows; the upstream is asked for h2 whatever the client speaks."""
    proxy, port, authority = front()
    assert curl(port, authority, option) == (version, "200", "back")
    assert proxy.stat("cluster.up.upstream_cx_http2_total") == 1
    assert proxy.stat("http.back.downstream_cx_http2_total") == 1
    assert proxy.stat("cluster.up.ssl.handshake") == 1
    assert proxy.stat(f"http.front.downstream_cx_http{version[0]}_total") == 1


def test_a_listener_that_speaks_http2_only(front):
    """Its first words are encrypted too."""
    proxy, port, authority = front(codec_type="HTTP2")
    assert curl(port, authority, "--http2") == ("2", "200", "back")
    assert proxy.stat("http.front.downstream_cx_http2_total") == 1
