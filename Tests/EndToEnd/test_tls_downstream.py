"""TLS with clients: handshakes, certificates that change, and who the client is."""

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from harness.certificates import Authority
from harness.client import request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.tls import TLSConnection, downstream_tls
from harness.upstream import Upstream, reply
from harness.waiting import until

NAMES = "DNS:server.example,URI:spiffe://mesh/server"
LINE = ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN% "
        "%DOWNSTREAM_LOCAL_SUBJECT% %DOWNSTREAM_PEER_SERIAL%\n")


@pytest.fixture
def authority(tmp_path):
    """An authority of this test's own."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    """What the listener presents."""
    return authority.issue("server", NAMES)


@pytest.fixture
def client(authority):
    """Who asks."""
    return authority.issue("client", "URI:spiffe://mesh/client,DNS:client.example")


class Running:
    """A proxy with one secured listener in front of one plain upstream."""

    def __init__(self, kind, tmp_path, context, behaviour=None, chain=None, logs=(), **manager):
        self.upstream = Upstream(behaviour or reply())
        self.port, self.log = free_port(), tmp_path / "access.log"
        config = listener("main", self.port, access_log=(self.log, LINE), **manager)
        config["filter_chains"][0]["filters"][0]["typed_config"]["access_log"].extend(logs)
        config["filter_chains"][0].update(transport_socket=downstream_tls(**context),
                                          **(chain or {}))
        self.proxy = Proxy(kind).start(bootstrap(
            [config], [cluster("up", self.upstream.port)], free_port()))
        self.scope = f"listener.127.0.0.1_{self.port}."

    def stat(self, name):
        """A counter of the listener."""
        return self.proxy.stat(self.scope + name)

    def wait_stat(self, name, value):
        """Waits for a counter of the listener."""
        self.proxy.wait_stat(self.scope + name, value)

    def stop(self):
        """Ends both."""
        self.proxy.stop()
        self.upstream.stop()


@pytest.fixture
def run(proxy_kind, tmp_path):
    """Starts what a test asks for and stops it at the end."""
    open_ = []

    def start(context, **options):
        open_.append(Running(proxy_kind, tmp_path, context, **options))
        return open_[-1]

    yield start
    for one in open_:
        one.stop()


def ask(connection, headers=(), body=None, method="GET"):
    """One request on an open connection."""
    connection.send(request_bytes(method=method, headers=headers, body=body))
    return connection.read_response()


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2])
def test_a_client_is_answered_through_tls(run, authority, server, version):
    running = run({"common_tls_context": server.common()})
    with TLSConnection(running.port, authority, version=version) as connection:
        for _ in range(3):
            assert ask(connection).status == 200
        name = connection.socket.version()
    assert running.stat("ssl.handshake") == 1
    running.wait_stat(f"ssl.versions.{name}", 1)
    assert running.upstream.requests[0].value("x-forwarded-proto") == "https"
    assert running.proxy.stat("http.main.downstream_cx_ssl_total") == 1
    until(lambda: running.proxy.stat("http.main.downstream_cx_ssl_active") == 0, what="its end")


def returned(exchange):
    """Answers with the request's body."""
    reply(body=exchange.request.body)(exchange)


@pytest.mark.parametrize("size", [1, 16384, 16385, 2_000_000])
def test_bodies_pass_whole_in_both_directions(run, authority, server, size):
    running = run({"common_tls_context": server.common()}, behaviour=returned)
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    with TLSConnection(running.port, authority) as connection:
        assert ask(connection, body=body, method="POST").body == body


def test_a_client_hello_that_drips_is_a_client_hello(run, authority, server):
    running = run({"common_tls_context": server.common()})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.certificate)
    session = context.wrap_bio(incoming, outgoing, server_hostname="server.example")
    with socket.create_connection(("127.0.0.1", running.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(10)
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
                incoming.write(sock.recv(65536))
        session.write(request_bytes())
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            try:
                assert session.read(65536).startswith(b"HTTP/1.1 200")
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


def test_a_client_without_a_certificate_is_refused(run, authority, server, client):
    running = run({"require_client_certificate": True,
                   "common_tls_context": server.common(validation_context=authority.trust)})
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask(TLSConnection(running.port, authority))
    running.wait_stat("ssl.fail_verify_no_cert", 1)
    with TLSConnection(running.port, authority, client) as connection:
        assert ask(connection).status == 200
    line = until(lambda: running.log.exists() and running.log.read_text(), what="a line").split()
    assert line[1:4] == ["CN=client,O=acme", "spiffe://mesh/client", "CN=server,O=acme"]


def test_a_client_of_another_authority_is_refused(run, authority, server, tmp_path):
    stranger = Authority(tmp_path, "stranger").issue(
        "stranger", "DNS:client.example", file="leaf")
    running = run({"require_client_certificate": True,
                   "common_tls_context": server.common(validation_context=authority.trust)})
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask(TLSConnection(running.port, authority, stranger))
    running.wait_stat("ssl.fail_verify_error", 1)


def test_garbage_is_counted_and_hurts_nobody(run, authority, server):
    running = run({"common_tls_context": server.common()})
    with socket.create_connection(("127.0.0.1", running.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        sock.settimeout(5)
        try:
            assert not sock.recv(100).startswith(b"HTTP")
        except ConnectionError:
            pass
    running.wait_stat("ssl.connection_error", 1)
    with TLSConnection(running.port, authority) as connection:
        assert ask(connection).status == 200


def test_a_silent_client_has_the_handshakes_time_and_no_more(run, server):
    running = run({"common_tls_context": server.common()},
                  chain={"transport_socket_connect_timeout": "0.2s"})
    with socket.create_connection(("127.0.0.1", running.port)) as sock:
        sock.settimeout(5)
        assert sock.recv(1) == b""
    assert running.stat("downstream_cx_transport_socket_connect_timeout") == 1


def test_the_protocol_is_agreed_upon(run, authority, server):
    running = run({"common_tls_context": {**server.common(), "alpn_protocols": ["http/1.1"]}})
    with TLSConnection(running.port, authority, protocols=["h2", "http/1.1"]) as connection:
        assert connection.socket.selected_alpn_protocol() == "http/1.1"


def test_the_name_asked_for_chooses_the_certificate(run, authority, server):
    other = authority.issue("other", "DNS:*.other.example")
    common = server.common()
    common["tls_certificates"] += other.common()["tls_certificates"]
    running = run({"common_tls_context": common})
    for name, subject in (("server.example", "server"), ("a.other.example", "other"),
                          ("nobody.example", "server"), (None, "server")):
        with TLSConnection(running.port, authority, name=name) as connection:
            found = dict(part[0] for part in connection.socket.getpeercert()["subject"])
            assert found["commonName"] == subject


def session_of(connection):
    """The session after an answer: by then the ticket has come."""
    assert ask(connection).status == 200
    return connection.socket.session


@pytest.mark.parametrize("disabled", [False, True])
def test_tickets_resume_sessions_unless_told_otherwise(run, authority, server, disabled):
    context = {"common_tls_context": server.common()}
    if disabled:
        context.update(disable_stateless_session_resumption=True,
                       disable_stateful_session_resumption=True)
    running = run(context)
    first = TLSConnection(running.port, authority, version=ssl.TLSVersion.TLSv1_2)
    session = session_of(first)
    first.close()
    with socket.create_connection(("127.0.0.1", running.port)) as sock:
        with first.context.wrap_socket(
                sock, server_hostname="server.example", session=session) as again:
            assert again.session_reused is not disabled
    if not disabled:
        running.wait_stat("ssl.session_reused", 1)


XFCC = {"subject": True, "uri": True, "dns": True, "cert": False}


@pytest.mark.parametrize("mode,has_certificate,expected", [
    ("SANITIZE", True, None), ("FORWARD_ONLY", True, "By=told"),
    ("FORWARD_ONLY", False, None), ("ALWAYS_FORWARD_ONLY", False, "By=told"),
    ("SANITIZE_SET", True, "By=spiffe://mesh/server;Hash={hash};Subject=\"CN=client,O=acme\";"
                           "URI=spiffe://mesh/client;DNS=client.example"),
    ("APPEND_FORWARD", True,
     "By=told,By=spiffe://mesh/server;Hash={hash};Subject=\"CN=client,O=acme\";"
     "URI=spiffe://mesh/client;DNS=client.example"),
    ("SANITIZE_SET", False, None),
])
def test_the_next_hop_is_told_who_the_client_is(
        run, authority, server, client, mode, has_certificate, expected):
    running = run({"common_tls_context": server.common(validation_context=authority.trust)},
                  forward_client_cert_details=mode, set_current_client_cert_details=XFCC)
    with TLSConnection(running.port, authority, client if has_certificate else None) as connection:
        assert ask(connection, [("x-forwarded-client-cert", "By=told")]).status == 200
    der = ssl.PEM_cert_to_DER_cert(client.certificate.read_text())
    wanted = expected and expected.format(hash=hashlib.sha256(der).hexdigest())
    assert running.upstream.requests[0].value("x-forwarded-client-cert") == wanted


def serial(port, authority):
    """The serial number of the certificate that a new connection gets."""
    with TLSConnection(port, authority) as connection:
        return connection.socket.getpeercert()["serialNumber"]


def test_a_changed_certificate_is_for_new_connections(
        proxy_kind, run, authority, server, tmp_path):
    if proxy_kind == "envoy":
        pytest.skip("Envoy follows files through SDS only")
    running = run({"common_tls_context": server.common()})
    before = serial(running.port, authority)
    with TLSConnection(running.port, authority) as old:
        assert ask(old).status == 200
        newer = authority.issue("server", NAMES, file="newer")
        shutil.move(newer.key, server.key)
        shutil.move(newer.certificate, server.certificate)
        until(lambda: serial(running.port, authority) != before, what="the new certificate")
        assert ask(old).status == 200, "a connection keeps what it began with"


def test_a_key_that_does_not_fit_is_refused_and_the_old_pair_stays(
        proxy_kind, run, authority, server):
    if proxy_kind == "envoy":
        pytest.skip("Envoy follows files through SDS only")
    running = run({"common_tls_context": server.common()})
    before = serial(running.port, authority)
    other = authority.issue("other", NAMES)
    shutil.copy(other.key, server.key)
    running.wait_stat("server_ssl_socket_factory.ssl_context_update_refused", 1)
    assert serial(running.port, authority) == before
    assert "does not belong to the certificate" in running.proxy.output()
    # The certificate that it belongs to comes after it.
    shutil.copy(other.certificate, server.certificate)
    until(lambda: serial(running.port, authority) != before, what="the whole new pair")


def test_certificates_change_under_load_without_a_failed_request(
        proxy_kind, run, authority, server):
    if proxy_kind == "envoy":
        pytest.skip("Envoy follows files through SDS only")
    running = run({"common_tls_context": server.common()})
    pairs = [authority.issue("server", NAMES, file=f"pair{n}") for n in range(6)]
    stop, answers = threading.Event(), []

    def load():
        while not stop.is_set():
            with TLSConnection(running.port, authority) as connection:
                answers.append(ask(connection).status)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number, pair in enumerate(pairs):
        shutil.copy(pair.key, server.key)
        shutil.copy(pair.certificate, server.certificate)
        running.wait_stat("server_ssl_socket_factory.ssl_context_update_by_sds", number + 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert answers and set(answers) == {200}


def test_the_admin_page_tells_of_every_certificate(run, authority, server):
    running = run({"common_tls_context": server.common(validation_context=authority.trust)})
    page = json.loads(running.proxy.admin("/certs").body)["certificates"][0]
    assert page["cert_chain"][0]["path"] == str(server.certificate)
    assert page["cert_chain"][0]["days_until_expiration"] in ("29", "30")
    assert {"uri": "spiffe://mesh/server"} in page["cert_chain"][0]["subject_alt_names"]
    assert page["ca_cert"][0]["path"] == str(authority.certificate)
    assert running.proxy.stat("server.days_until_first_cert_expiring") in (29, 30)


def test_openssl_and_curl_are_served(run, authority, server, client):
    running = run({"require_client_certificate": True,
                   "common_tls_context": server.common(validation_context=authority.trust)})
    answer = subprocess.run(
        ["curl", "-s", "--http1.1", "--cacert", authority.certificate, "--cert",
         client.certificate, "--key", client.key, "--resolve",
         f"server.example:{running.port}:127.0.0.1", f"https://server.example:{running.port}/",
         "-o", "/dev/null", "-w", "%{http_code}"], capture_output=True, check=False, timeout=20)
    assert answer.stdout == b"200"
    output = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{running.port}", "-CAfile",
         authority.certificate, "-cert", client.certificate, "-key", client.key,
         "-verify_return_error"],
        input=b"", capture_output=True, check=False, timeout=20).stdout
    assert b"Verify return code: 0 (ok)" in output
    assert b"Secure Renegotiation IS NOT supported" in output or b"TLSv1.3" in output


MTLS = {"name": "fairlead.filters.http.mtls", "typed_config": {
    "@type": "type.googleapis.com/fairlead.filters.http.mtls.v1.MTLS", "stat_prefix": "edge",
    "peers": [{"uri": {"prefix": "spiffe://mesh/cl"}}]}}


def test_the_chain_states_who_may_speak(proxy_kind, run, authority, server, client):
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    other = authority.issue("other", "URI:spiffe://mesh/other")
    running = run({"common_tls_context": server.common(validation_context=authority.trust)},
                  filters=[MTLS])
    for identity, status, body in ((client, 200, b"hello"),
                                   (other, 403, b"this client may not speak here"),
                                   (None, 403, b"a verified client certificate is required")):
        with TLSConnection(running.port, authority, identity) as connection:
            answer = ask(connection)
            assert (answer.status, answer.body) == (status, body)
    for counter in ("allowed", "denied", "no_certificate"):
        assert running.proxy.stat(f"http.main.mtls.edge.{counter}") == 1


# How a value may be asked for, and whether the client's URI is one. Filters note texts: nothing that
# asks for another kind of value ever holds.
VALUE_MATCHERS = {
    "exact": ({"string_match": {"exact": "spiffe://mesh/client"}}, True),
    "exact, another": ({"string_match": {"exact": "spiffe://mesh/Client"}}, False),
    "exact, ignoring case": (
        {"string_match": {"exact": "SPIFFE://mesh/CLIENT", "ignore_case": True}}, True),
    "prefix": ({"string_match": {"prefix": "spiffe://mesh/"}}, True),
    "prefix, another": ({"string_match": {"prefix": "spiffe://other/"}}, False),
    "suffix": ({"string_match": {"suffix": "/client"}}, True),
    "suffix, another": ({"string_match": {"suffix": "/mesh"}}, False),
    "contains": ({"string_match": {"contains": "//mesh"}}, True),
    "contains, another": ({"string_match": {"contains": "//other"}}, False),
    "a pattern": ({"string_match": {"safe_regex": {"regex": "spiffe://[a-z]+/client"}}}, True),
    "a pattern of a part": ({"string_match": {"safe_regex": {"regex": "spiffe://[a-z]+"}}}, False),
    "there": ({"present_match": True}, True),
    "not there": ({"present_match": False}, False),
    "a flag": ({"bool_match": True}, False),
    "a number": ({"double_match": {"exact": 1}}, False),
    "nothing": ({"null_match": {}}, False),
    "a list": ({"list_match": {"one_of": {"string_match": {"prefix": "spiffe"}}}}, False),
}


def test_a_log_may_ask_who_the_client_is(proxy_kind, run, authority, server, client, tmp_path):
    """`metadata_filter` with every kind of value matcher, on what the mtls filter notes."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    # Without the key each would hold: what is asked for here is the value.
    logs = [{"name": "file", "filter": {"metadata_filter": {"matcher": {
        "filter": "fairlead.filters.http.mtls", "path": [{"key": "uri"}], "value": value}}},
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(tmp_path / "asked.log"), "log_format": {
                "text_format_source": {"inline_string": name + "\n"}}}}
        for name, (value, _) in VALUE_MATCHERS.items()]
    running = run({"common_tls_context": server.common(validation_context=authority.trust)},
                  filters=[MTLS], logs=logs)
    with TLSConnection(running.port, authority, client) as connection:
        assert ask(connection).status == 200
    running.proxy.stop()
    assert (tmp_path / "asked.log").read_text().splitlines() == [
        name for name, (_, holds) in VALUE_MATCHERS.items() if holds]
