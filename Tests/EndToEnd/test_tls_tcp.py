"""TLS around bytes as they come: `tcp_proxy`, `echo` and `direct_response` behind a transport socket,
`tcp_proxy` towards endpoints that speak TLS, and a real Redis behind it all.

Statistics and log lines are compared with the real Envoy's where a scenario runs in both.
"""

import contextlib
import hashlib
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest

from harness.certificates import Authority
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster
from harness.tls import downstream_tls, upstream_tls
from harness.waiting import until
from test_tcp import Server, answer_at_the_end, connect, filter_of, listener, receive_all, tcp

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


@pytest.fixture
def authority(tmp_path):
    """An authority of this test's own."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    """What listeners and endpoints present."""
    return authority.issue("server", "DNS:server.example,URI:spiffe://mesh/server")


@pytest.fixture
def client(authority):
    """Who connects."""
    return authority.issue("client", "URI:spiffe://mesh/client")


@pytest.fixture
def run(proxy_kind):
    """Starts proxies with listeners and clusters; all end with the test."""
    with contextlib.ExitStack() as stack:
        def start(listeners, clusters, kind=proxy_kind, **extra):
            return stack.enter_context(
                Proxy(kind).start(bootstrap(listeners, clusters, free_port()), **extra))
        yield start


def secured(config, identity, require=None, **context):
    """The listener, with TLS in front of its chain; `require`: whose clients it takes."""
    common = identity.common()
    if require:
        common["validation_context"] = require.trust
        context["require_client_certificate"] = True
    config["filter_chains"][0]["transport_socket"] = downstream_tls(
        common_tls_context=common, **context)
    return config


def wrap(sock, authority, identity=None, version=None):
    """A client's end of a connection through TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.certificate)
    context.check_hostname = False
    if identity:
        context.load_cert_chain(identity.certificate, identity.key)
    if version:
        context.maximum_version = version
    return context.wrap_socket(
        sock, server_hostname="server.example", suppress_ragged_eofs=False)


class HalfClosing:
    """TLS over a socket by hand: the one way in Python to end one side and go on listening."""

    def __init__(self, sock, authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.certificate)
        context.check_hostname = False
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a")
        self._drive(self.session.do_handshake)

    def _drive(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            finally:
                if self.outgoing.pending:
                    self.sock.sendall(self.outgoing.read())

    def send(self, data):
        """Writes."""
        self._drive(lambda: self.session.write(data))

    def end(self):
        """Says goodbye, and does not wait for the answer."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.session.unwrap()
        self.sock.sendall(self.outgoing.read())

    def receive_all(self):
        """Everything up to the other side's goodbye, which has to come."""
        parts = []
        while True:
            try:
                part = self._drive(lambda: self.session.read(65536))
            except ssl.SSLZeroReturnError:
                return b"".join(parts)
            if not part:
                return b"".join(parts)
            parts.append(part)


def test_a_goodbye_ends_one_side_only(run, authority, server):
    """The client's close_notify is an end for the upstream, and what that says then still arrives."""
    port = free_port()
    heard = threading.Event()

    def answer(peer):
        data = receive_all(peer)
        heard.set()
        peer.sendall(b"got " + data)

    with Server(answer) as upstream:
        run([secured(listener(port, tcp()), server)], [cluster("up", upstream.port)])
        with connect(port) as sock:
            # TLS 1.2 as spoken by `unwrap` would wait for the goodbye to be answered.
            peer = HalfClosing(sock, authority)
            peer.send(b"hello")
            peer.end()
            assert heard.wait(10)
            rest = b""
            while part := sock.recv(65536):
                rest += part
    assert rest, "the answer, and the proxy's own goodbye"


def test_openssl_hears_the_answer_after_its_goodbye(run, authority, server):
    """`openssl s_client`, whose end of input is a close_notify, both ways."""
    port = free_port()
    with Server(lambda peer: peer.sendall(peer.recv(100))) as upstream:
        proxy = run([secured(listener(port, tcp()), server)], [cluster("up", upstream.port)])
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-verify_return_error",
             "-CAfile", authority.certificate, "-ign_eof"],
            input=b"hello\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20,
            check=False)
        assert done.stdout == b"hello\n"
        assert proxy.stat(f"listener.127.0.0.1_{port}.ssl.handshake") == 1
        assert proxy.stat(f"listener.127.0.0.1_{port}.ssl.connection_error") == 0


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2])
def test_bytes_arrive_whole_through_tls_on_both_sides(run, authority, server, client, version):
    """Megabytes each way at once, mutual TLS with the client and with the endpoint."""
    port = free_port()
    sent = os.urandom(1 << 20) * 6
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED

    def both_ways(peer):
        with context.wrap_socket(peer, server_side=True) as session:
            got = b""
            while len(got) < len(sent):
                got += session.recv(65536)
            session.sendall(sent)
            session.sendall(hashlib.sha256(got).digest())
            session.recv(1)

    with Server(both_ways) as upstream:
        tls = upstream_tls(sni="server.example", common_tls_context=client.common(
            validation_context=authority.trust))
        proxy = run([secured(listener(port, tcp()), server, require=authority)],
                    [cluster("up", upstream.port, transport_socket=tls)])
        with connect(port) as sock, wrap(sock, authority, client, version) as session:
            session.sendall(sent)
            got = b""
            while len(got) < len(sent) + 32:
                got += session.recv(65536)
        assert got == sent + hashlib.sha256(sent).digest()
        assert proxy.stat("cluster.up.ssl.handshake") == 1
        assert proxy.stat("tcp.tcp.downstream_cx_rx_bytes_total") == len(sent)


@pytest.mark.unsanitized("keeps freed memory")
def test_a_slow_reader_makes_the_sender_wait(run, authority, server):
    """What is buffered stays within the limits, and nothing is missing when the reader wakes up."""
    port, total = free_port(), 32 << 20

    def pour(peer):
        for _ in range(total >> 16):
            peer.sendall(bytes(65536))

    with Server(pour) as upstream:
        limit = {"per_connection_buffer_limit_bytes": 65536}
        proxy = run([secured(listener(port, tcp(), **limit), server)],
                    [cluster("up", upstream.port, **limit)])
        with connect(port) as sock, wrap(sock, authority) as session:
            before = proxy.resident_kib()
            proxy.wait_stat("cluster.up.upstream_flow_control_paused_reading_total", 1)
            assert proxy.resident_kib() - before < 4096
            count = 0
            # The goodbye comes behind the last byte although the socket was full: a ragged end raises.
            while part := session.recv(65536):
                count += len(part)
        assert count == total


def test_whoever_may_not_speak_reaches_no_upstream(run, authority, server):
    """Mutual TLS: the handshake comes before the cluster."""
    port = free_port()
    with Server(answer_at_the_end) as upstream:
        run([secured(listener(port, tcp()), server, require=authority)],
            [cluster("up", upstream.port)])
        with connect(port) as sock, pytest.raises((ssl.SSLError, OSError)):
            with wrap(sock, authority) as session:
                session.sendall(b"hello")
                session.recv(1)
        assert upstream.taken == 0


def test_handshakes_have_their_time(run, server):
    """`transport_socket_connect_timeout`, in front of whatever serves the chain."""
    kinds = (tcp(), filter_of("echo", "Echo"),
             filter_of("direct_response", "Config", response={"inline_string": "x"}))
    ports = [free_port() for _ in kinds]
    configs = [secured(listener(port, kind), server) for port, kind in zip(ports, kinds)]
    for config in configs:
        config["filter_chains"][0]["transport_socket_connect_timeout"] = "0.1s"
    proxy = run(configs, [cluster("up", free_port())])
    for port in ports:
        with connect(port) as client:
            assert client.recv(1) == b""
        proxy.wait_stat(
            f"listener.127.0.0.1_{port}.downstream_cx_transport_socket_connect_timeout", 1)


def test_small_answers_without_an_upstream(run, authority, server):
    """`direct_response` and `echo`, each with a goodbye at its end."""
    ports = free_port(), free_port()
    run([secured(listener(ports[0], filter_of("direct_response", "Config",
                                              response={"inline_string": "closed\n"})), server),
         secured(listener(ports[1], filter_of("echo", "Echo")), server)], [])
    with connect(ports[0]) as sock, wrap(sock, authority) as session:
        assert receive_all(session) == b"closed\n"
    words = os.urandom(300_000)
    with connect(ports[1]) as sock, wrap(sock, authority) as session:
        writer = threading.Thread(target=lambda: session.sendall(words))
        writer.start()
        got = b""
        while len(got) < len(words):
            got += session.recv(65536)
        writer.join()
        assert got == words


LINE = ("%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DOWNSTREAM_TLS_VERSION% "
        "%DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN% "
        "%DOWNSTREAM_LOCAL_SUBJECT% %DOWNSTREAM_LOCAL_URI_SAN% %UPSTREAM_TLS_VERSION% "
        "%UPSTREAM_PEER_SUBJECT% %UPSTREAM_PEER_DNS_SAN% %UPSTREAM_LOCAL_URI_SAN%\n")
# How a handshake failed is named as OpenSSL names it, and the factory's own counters with SDS.
STATS = re.compile(r"^(tcp\.tcp|listener\.[0-9._]+ssl\.|cluster\.up\.ssl\.|listener\.[0-9._]+"
                   r"downstream_cx)(?!.*(expiration|_bytes_|was_key_usage))")


@pytest.mark.parametrize("scenario", ["plain upstream", "secured upstream", "no certificate"])
def test_the_same_as_envoy(run, proxy_kind, tmp_path, authority, server, client, scenario):
    """Log line and statistics of one connection."""
    told = {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def answer(peer):
        if scenario == "secured upstream":
            with context.wrap_socket(peer, server_side=True) as session:
                session.sendall(session.recv(100))
                session.recv(1)
        else:
            peer.sendall(peer.recv(100))
            peer.recv(1)

    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), tmp_path / f"{kind}.log"
        logs = [{"name": "file", "typed_config": {
            "@type": _FILE_LOG, "path": str(log),
            "log_format": {"text_format_source": {"inline_string": LINE}}}}]
        extra = {}
        if scenario == "secured upstream":
            extra["transport_socket"] = upstream_tls(common_tls_context=client.common(
                validation_context=authority.trust))
        with Server(answer) as upstream:
            proxy = run([secured(listener(port, tcp(access_log=logs)), server, require=authority)],
                        [cluster("up", upstream.port, **extra)], kind=kind)
            with connect(port) as sock, contextlib.suppress(ssl.SSLError, OSError):
                identity = None if scenario == "no certificate" else client
                session = wrap(sock, authority, identity, ssl.TLSVersion.TLSv1_2)
                session.sendall(b"hello")
                assert session.recv(100) == b"hello"
                session.unwrap()
            proxy.wait_stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy", 1)
            until(lambda: log.exists() and log.read_text().endswith("\n"), what="the log line")
            told[kind] = log.read_text(), {
                key.replace(str(port), "PORT"): value for key, value in proxy.stats().items()
                if STATS.match(key) and value}
    assert told[proxy_kind][0] == told["envoy"][0]
    assert sorted(told[proxy_kind][1].items()) == sorted(told["envoy"][1].items())


def test_redis_over_tls(run, authority, server, client, tmp_path):
    """A real server and its own client: TLS with the proxy, mutual TLS between proxy and server."""
    redis, port = free_port(), free_port()
    with subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(redis), "--save", "", "--appendonly",
             "no", "--tls-cert-file", server.certificate, "--tls-key-file", server.key,
             "--tls-ca-cert-file", authority.certificate, "--tls-auth-clients", "yes"],
            stdout=subprocess.DEVNULL, cwd=tmp_path) as process:
        try:
            tls = upstream_tls(common_tls_context=client.common(validation_context=authority.trust))
            proxy = run([secured(listener(port, tcp()), server)],
                        [cluster("up", redis, transport_socket=tls)])

            def ask(*words, check=True, **options):
                return subprocess.run(
                    ["redis-cli", "-p", str(port), "--tls", "--cacert", authority.certificate,
                     *words], stdout=subprocess.PIPE, check=check, stderr=subprocess.DEVNULL,
                    **options).stdout

            until(lambda: ask("ping", check=False) == b"PONG\n", what="Redis to answer")
            value = os.urandom(3 << 20).hex().encode()
            assert ask("-x", "set", "key", input=value) == b"OK\n"
            assert ask("get", "key") == value + b"\n"
            assert ask("--raw", "-r", "50", "incr", "n").split()[-1] == b"50"
            assert proxy.stat("cluster.up.ssl.handshake") >= 4
        finally:
            process.terminate()
