"""TLS towards upstreams: who they have to be, and what is told when they are not."""

import socket
import ssl
import threading

import pytest

from harness.certificates import Authority
from harness.client import fetch
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import address, cluster, listener
from harness.tls import TLSUpstream, upstream_tls
from harness.waiting import until

NAMES = "DNS:server.example,DNS:*.wild.example,URI:spiffe://mesh/server,IP:127.0.0.1"


@pytest.fixture
def authority(tmp_path):
    """An authority of this test's own."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    """What the upstream presents."""
    return authority.issue("server", NAMES)


@pytest.fixture
def run(proxy_kind, tmp_path):
    """Starts a proxy whose cluster `up` has a TLS context; returns (proxy, port, log file)."""
    open_ = []

    def start(upstream, context, **extra):
        port, log = free_port(), tmp_path / "access.log"
        proxy = Proxy(proxy_kind).start(bootstrap(
            [listener("main", port, access_log=(log, "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
                                                     "%UPSTREAM_TRANSPORT_FAILURE_REASON%\n"))],
            [cluster("up", upstream.port, transport_socket=upstream_tls(**context), **extra)],
            free_port()))
        open_.append(proxy)
        return proxy, port, log

    yield start
    for proxy in open_:
        proxy.stop()


@pytest.mark.unsanitized("each worker has its connections")
def test_an_upstream_is_reached_through_tls(run, authority, server):
    with TLSUpstream(server) as upstream:
        proxy, port, _ = run(upstream, {
            "sni": "server.example", "common_tls_context": {"validation_context": authority.trust}})
        for _ in range(3):
            answer = fetch(port)
            assert (answer.status, answer.body) == (200, b"hello")
        assert upstream.names == ["server.example"]
        assert len(upstream.handshakes) == 1
        assert proxy.stat("cluster.up.ssl.handshake") == 1
        version = upstream.handshakes[0][0]
        proxy.wait_stat(f"cluster.up.ssl.versions.{version}", 1)


@pytest.mark.parametrize("size", [1, 16384, 16385, 3_000_000])
def test_bodies_pass_whole_in_both_directions(run, authority, server, size):
    body = bytes(range(251)) * (size // 251 + 1)
    with TLSUpstream(server, body=body[:size]) as upstream:
        _, port, _ = run(upstream, {})
        assert fetch(port).body == body[:size]


@pytest.mark.parametrize("old", [False, True])
def test_a_client_certificate_is_presented(run, authority, server, old):
    client = authority.issue("client", "URI:spiffe://mesh/client")
    version = ssl.TLSVersion.TLSv1_2 if old else None
    with TLSUpstream(server, authority, require=True, version=version) as upstream:
        _, port, _ = run(upstream, {"common_tls_context": client.common()})
        assert fetch(port).status == 200
        assert ("URI", "spiffe://mesh/client") in upstream.handshakes[0][2]["subjectAltName"]


WRONG = {
    "authority": ({"trusted_ca": None}, "fail_verify_error"),
    "san": ({"match_typed_subject_alt_names": [
        {"san_type": "DNS", "matcher": {"exact": "other.example"}}]}, "fail_verify_san"),
    "pin": ({"verify_certificate_hash": ["ab" * 32]}, "fail_verify_cert_hash"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_upstream_that_is_somebody_else_is_not_asked(run, authority, server, tmp_path, what):
    change, counter = WRONG[what]
    validation = {**authority.trust, **change}
    if what == "authority":
        validation = Authority(tmp_path, "stranger").trust
    with TLSUpstream(server) as upstream:
        proxy, port, log = run(
            upstream, {"common_tls_context": {"validation_context": validation}})
        answer = fetch(port)
        assert answer.status == 503
        assert answer.body == (b"upstream connect error or disconnect/reset before headers. "
                               b"reset reason: remote connection failure")
        assert proxy.stat(f"cluster.up.ssl.{counter}") == 1
        assert proxy.stat("cluster.up.ssl.connection_error") == 0
        assert proxy.stat("cluster.up.upstream_cx_connect_fail") == 1
        line = until(lambda: log.exists() and log.read_text(), what="a log line").split()
        assert line[0] == "UF"
        assert line[1].startswith(
            "upstream_reset_before_response_started{remote_connection_failure|TLS_error:")
        assert line[2].startswith("TLS_error:")
        assert "certificate_verify_failed" in line[2].lower()


@pytest.mark.parametrize("matcher", [
    {"san_type": "DNS", "matcher": {"exact": "server.example"}},
    {"san_type": "DNS", "matcher": {"exact": "x.wild.example"}},
    {"san_type": "DNS", "matcher": {"suffix": ".example"}},
    {"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}},
    {"san_type": "URI", "matcher": {"safe_regex": {"regex": "spiffe://[a-z]+/server"}}},
    {"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}},
    {"san_type": "URI", "matcher": {"contains": "MESH", "ignore_case": True}},
])
def test_names_match_by_every_kind_of_matcher(run, authority, server, matcher):
    with TLSUpstream(server) as upstream:
        _, port, _ = run(upstream, {"common_tls_context": {"validation_context": {
            **authority.trust, "match_typed_subject_alt_names": [matcher]}}})
        assert fetch(port).status == 200


def test_an_upstream_that_speaks_plainly_is_told_apart(run, authority):
    server = socket.create_server(("127.0.0.1", 0))

    class Plain:
        port = server.getsockname()[1]

    def answer():
        sock, _ = server.accept()
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.close()

    threading.Thread(target=answer, daemon=True).start()
    proxy, port, _ = run(Plain, {})
    assert fetch(port).status == 503
    assert proxy.stat("cluster.up.ssl.connection_error") == 1
    server.close()


@pytest.mark.unsanitized("each worker has its sessions")
def test_a_session_is_resumed(run, authority, server):
    with TLSUpstream(server) as upstream:
        upstream.closes = True
        proxy, port, _ = run(upstream, {"sni": "server.example"})
        for _ in range(3):
            assert fetch(port).status == 200
        assert [resumed for _, resumed, _ in upstream.handshakes] == [False, True, True]
        assert proxy.stat("cluster.up.ssl.session_reused") == 2


def test_the_handshake_is_within_the_connect_timeout(run, authority):
    server = socket.create_server(("127.0.0.1", 0))

    class Silent:
        port = server.getsockname()[1]

    proxy, port, _ = run(Silent, {})
    assert fetch(port).status == 503
    assert proxy.stat("cluster.up.upstream_cx_connect_timeout") == 1
    server.close()


def test_a_key_of_another_certificate_is_refused_by_place(authority, server):
    other = authority.issue("other")
    context = upstream_tls(common_tls_context={"tls_certificates": [{
        "certificate_chain": {"filename": str(server.certificate)},
        "private_key": {"filename": str(other.key)}}]})
    code, output = Proxy("fairlead").validate(bootstrap(
        [listener("main", free_port())], [cluster("up", 1, transport_socket=context)]))
    assert code != 0
    assert "tls_certificates[0].private_key" in output
    assert "does not belong to the certificate" in output


def test_a_tcp_proxy_speaks_tls_to_its_cluster(proxy_kind, authority, server):
    chain = {"filters": [{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "up"}}]}
    port = free_port()
    with TLSUpstream(server) as upstream:
        proxy = Proxy(proxy_kind).start(bootstrap(
            [{"name": "main", "address": address(port), "filter_chains": [chain]}],
            [cluster("up", upstream.port, transport_socket=upstream_tls(
                common_tls_context={"validation_context": authority.trust}))], free_port()))
        with proxy:
            assert fetch(port).body == b"hello"
            assert proxy.stat("cluster.up.ssl.handshake") == 1
