"""The PROXY protocol on both sides: what a proxy in front tells besides addresses, in logs and on its
way to endpoints, with TLS behind it. Compared with the real Envoy.
"""

import base64
import contextlib
import re
import socket
import ssl
import struct

import pytest

from harness.certificates import Authority
from harness.client import Connection, request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener as http_listener
from harness.tls import upstream_tls
from harness.waiting import until
from test_tcp import Server, connect, listener, receive_all, tcp
from test_upstream_sockets import SIGNATURE, Answering, head_of, proxied

_READER = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
IPV4 = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80])
ALL = {"pass_through_tlvs": {"match_type": "INCLUDE_ALL"}}


def reader(**config):
    """The listener filter."""
    return {"name": "proxy_protocol", "typed_config": {"@type": _READER, **config}}


def tlv(kind, value):
    """One TLV on the wire."""
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def told(*tlvs, command=0x21, family=0x11, addresses=IPV4):
    """A header of version 2."""
    body = addresses + b"".join(tlvs)
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(body)) + body


def including(*types):
    """Only these."""
    return {"pass_through_tlvs": {"match_type": "INCLUDE", "tlv_type": list(types)}}


def added(*tlvs):
    """TLVs of the cluster's own."""
    return {"added_tlvs": [
        {"type": kind, "value": base64.b64encode(value).decode()} for kind, value in tlvs]}


def to_endpoints(version="V2", inner=None, **config):
    """A cluster's transport socket."""
    return proxied(inner=inner, config={"version": version, **config})


def listening(kind, port, *filters, **extra):
    """A listener of `tcp_proxy` or of HTTP, behind these listener filters."""
    chain = listener(port, tcp(), **extra) if kind == "tcp" else {**http_listener("main", port), **extra}
    return {**chain, "listener_filters": list(filters)}


def both(proxy_kind, scenario):
    """What the scenario comes to with Fairlead, which is what it comes to with Envoy."""
    outcomes = {kind: scenario(kind) for kind in sorted({"envoy", proxy_kind})}
    assert outcomes[proxy_kind] == outcomes["envoy"]
    return outcomes[proxy_kind]


TLVS = (tlv(0xE0, b"first"), tlv(0xE0, b"second\xff\0"), tlv(2, b""), tlv(3, b"three"))
PASSING = {
    "nothing is asked for": (told(*TLVS), {}, {}),
    "kept but not told": (told(*TLVS), ALL, {}),
    "told but not kept": (told(*TLVS), {}, ALL),
    "all of them": (told(*TLVS), ALL, ALL),
    "some of them": (told(*TLVS), including(2, 3), including(3, 0xE0)),
    "our own before theirs": (
        told(*TLVS), ALL, {**ALL, **added((0xF0, b"x"), (0xE0, b"xyz"), (0xF0, b"y"))}),
    "our own alone": (told(*TLVS), {}, added((0xF0, b"x"))),
    "nobody in front": (b"", {"allow_requests_without_proxy_protocol": True}, added((1, b"h2"))),
    "a proxy that speaks for itself": (
        told(TLVS[0], command=0x20, family=0, addresses=b""), ALL, ALL),
    "version 1 has no room": (told(*TLVS), ALL, {"version": "V1", **ALL, **added((1, b"x"))}),
    "IPv6": (told(*TLVS, family=0x21, addresses=bytes(range(32)) + b"\0\1\0\2"), ALL, ALL),
    "too much together": (
        told(tlv(1, b"a" * 40000), tlv(4, b"x")), ALL, {**ALL, **added((0xF0, b"b" * 30000))}),
    "as much as there is room": (
        told(tlv(1, b"a" * 30000)), ALL,
        {**ALL, **added((0xF0, b"b" * (65535 - 12 - 30003 - 3)))}),
    "one more": (
        told(tlv(1, b"a" * 30000)), ALL,
        {**ALL, **added((0xF0, b"b" * (65535 - 12 - 30003 - 2)))}),
}


class Hearing(Answering):
    """Waits for the whole header before it looks for a request's end."""

    def _behave(self, peer):
        data = b""
        while True:
            head = 16 + int.from_bytes(data[14:16], "big") if data.startswith(SIGNATURE) else 0
            if len(data) > 16 and b"\r\n\r\n" in data[head:]:
                break
            part = peer.recv(65536)
            if not part:
                return
            data += part
        self.heard.append(data)
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                if not peer.recv(65536):
                    return


@pytest.mark.parametrize("kind", ["tcp", "http"])
@pytest.mark.parametrize("name", PASSING)
def test_what_endpoints_are_told(proxy_kind, kind, name):
    """TLVs come through as they were, in Envoy's order, as far as they fit."""
    opening, kept, config = PASSING[name]

    def scenario(one):
        port = free_port()
        with Hearing() as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap([listening(kind, port, reader(**kept))],
                                  [cluster("up", upstream.port, **to_endpoints(**config))],
                                  free_port()))
            with Connection(port) as client:
                own = client.socket.getsockname()[1]
                client.send(opening + request_bytes())
                assert client.read_response().status == 200
            return head_of(upstream.heard[0], own, port), {
                key: value for key, value in proxy.stats().items()
                if "proxyprotocol" in key or "proxy_proto" in key}
    both(proxy_kind, scenario)


RULES = [
    {"tlv_type": 0xE0, "on_tlv_present": {"metadata_namespace": "ns", "key": "k"}},
    {"tlv_type": 2, "on_tlv_present": {"key": "d"}},
    {"tlv_type": 3, "on_tlv_present": {"metadata_namespace": "ns", "key": "k2"}},
    {"tlv_type": 4, "on_tlv_present": {"metadata_namespace": "ns", "key": "k2"}},
    {"tlv_type": 5, "on_tlv_present": {"metadata_namespace": "ns", "key": "before"}},
    {"tlv_type": 5, "on_tlv_present": {"metadata_namespace": "ns", "key": "a"}},
    {"tlv_type": 6}]
NOTED = {
    "nothing": [],
    "a text": [tlv(0xE0, b"first")],
    "the first of one type": [tlv(0xE0, b"first"), tlv(0xE0, b"second")],
    "the first under one name": [tlv(4, b"four"), tlv(3, b"three")],
    "an empty one, under the filter's name": [tlv(2, b"")],
    "what is no text": [tlv(0xE0, b"\xff\xc3\xa9\x80\xe2\x82z"), tlv(3, b"\xc3\"\\\n")],
    "the last rule for one type": [tlv(5, b"five"), tlv(0xE0, b"x")],
    "a rule that names nothing": [tlv(6, b"six")],
}
LINE = ("%DYNAMIC_METADATA(ns:k)%|%DYNAMIC_METADATA(ns:k2)%|%DYNAMIC_METADATA(ns)%"
        "|%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol:d)%|%DYNAMIC_METADATA(ns:k:x)%\n")


def log_to(path, **extra):
    """An access log of the metadata."""
    return [{"name": "file", "typed_config": {
        "@type": _FILE_LOG, "path": str(path),
        "log_format": {"text_format_source": {"inline_string": LINE}}}, **extra}]


@pytest.mark.parametrize("kind", ["tcp", "http", "echo"])
@pytest.mark.parametrize("name", NOTED)
def test_what_logs_show(proxy_kind, tmp_path, kind, name):
    """Rules write into the connection's metadata, which logs of connections show and logs of requests
    do not."""
    def scenario(one):
        port = free_port()
        paths = [tmp_path / f"{one}-{log}" for log in ("listener", "filter")]
        if kind == "tcp":
            chain = listener(port, tcp(access_log=log_to(paths[1])))
        elif kind == "http":
            chain = http_listener("main", port, access_log=(paths[1], LINE))
        else:
            chain = listener(port, {"name": "echo", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}})
        main = {**chain, "access_log": log_to(paths[0]), "listener_filters": [reader(rules=RULES)]}
        with Answering() as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap([main], [cluster("up", upstream.port)], free_port()))
            with connect(port) as client:
                client.sendall(told(*NOTED[name]) + request_bytes())
                assert client.recv(100)
            wanted = paths[:1] if kind == "echo" else paths
            until(lambda: all(path.exists() and path.read_text() for path in wanted))
        return [path.read_text() for path in wanted]
    lines = both(proxy_kind, scenario)
    assert kind != "http" or lines[1] == "-|-|-|-|-\n"


def test_a_connection_that_no_chain_takes_is_logged_with_it(proxy_kind, tmp_path):
    """Also then the listener knows what it was told."""
    def scenario(one):
        port, path = free_port(), tmp_path / one
        main = listening("tcp", port, reader(rules=RULES), access_log=log_to(path))
        main["filter_chains"][0]["filter_chain_match"] = {"destination_port": 7}
        with Proxy(one) as proxy:
            proxy.start(bootstrap([main], [cluster("up", 1)], free_port()))
            with connect(port) as client, contextlib.suppress(OSError):
                client.sendall(told(*TLVS))
                client.recv(1)
            until(lambda: path.exists() and path.read_text())
        return path.read_text()
    assert both(proxy_kind, scenario).startswith("first|three|")


def test_metadata_of_another_connection_is_never_seen(proxy_kind, tmp_path):
    """A connection without the TLV, in a slot that was another's, has none."""
    port, path = free_port(), tmp_path / "log"
    main = listening("tcp", port, reader(rules=RULES), access_log=log_to(path))
    with Answering() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([main], [cluster("up", upstream.port)], free_port()))
        for number, tlvs in enumerate((TLVS, [], TLVS[:1], [])):
            with connect(port) as client:
                client.sendall(told(*tlvs) + request_bytes())
                assert client.recv(100)
            until(lambda: path.exists() and path.read_text().count("\n") == number + 1)
    shown = [line.split("|")[0] for line in path.read_text().splitlines()]
    assert shown == ["first", "-", "first", "-"]


BROKEN = {
    "half a prefix": told(tlv(1, b"a"), b"\1\0"),
    "a value beyond the header": told(tlv(1, b"a"), b"\1\0\5x"),
    "a length of 65535": told(b"\1\xff\xff"),
    "a header shorter than its addresses": told(addresses=IPV4[:11]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tlvs_end_the_connection(proxy_kind, name):
    """They are counted, once for the listener's filter and once for all of them."""
    def scenario(one):
        port = free_port()
        with Proxy(one) as proxy:
            proxy.start(bootstrap([listening("tcp", port, reader(rules=RULES))],
                                  [cluster("up", 1)], free_port()))
            with connect(port) as client, contextlib.suppress(ConnectionResetError):
                client.sendall(BROKEN[name] + b"x" * 100)
                assert client.recv(1) == b""
            proxy.wait_stat("downstream_cx_proxy_proto_error", 1)
            return {key: value for key, value in proxy.stats().items() if "proxy_proto" in key}
    both(proxy_kind, scenario)


def test_tlvs_in_pieces(proxy_kind):
    """Each byte may come by itself."""
    port = free_port()
    with Hearing() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listening("tcp", port, reader(**ALL))],
                              [cluster("up", upstream.port, **to_endpoints(**ALL))], free_port()))
        with connect(port) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in told(*TLVS) + request_bytes():
                client.send(bytes([byte]))
            assert client.recv(100)
        assert upstream.heard[0].startswith(told(*TLVS))


@pytest.mark.parametrize("size", [65536, 65537, 65551])
def test_the_longest_header(proxy_kind, size):
    """64 KiB pass, and what is longer ends the connection, which Envoy has room for."""
    passes = size == 65536 or proxy_kind == "envoy"
    port, opening = free_port(), told(tlv(1, b"a" * (size - 16 - 12 - 3)))
    with Hearing() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listening("tcp", port, reader(**ALL))],
                              [cluster("up", upstream.port, **to_endpoints(**ALL))], free_port()))
        with connect(port) as client, contextlib.suppress(OSError):
            client.sendall(opening + request_bytes())
            client.recv(100)
        assert [head.startswith(opening) for head in upstream.heard] == [True] * passes


REFUSED = {
    "a type beyond 255": (reader(rules=[{"tlv_type": 256, "on_tlv_present": {"key": "k"}}]), {}, "tlv_type"),
    "a name without a key": (reader(rules=[{"tlv_type": 1, "on_tlv_present": {}}]), {}, "key"),
    "a passed type beyond 255": (reader(**including(256)), {}, "tlv_type"),
    "an added type beyond 255": (reader(), to_endpoints(**added((256, b"x"))), "type"),
    "an added one without a value": (reader(), to_endpoints(added_tlvs=[{"type": 1}]), "added_tlvs[0]"),
    "something in place of a transport": (
        reader(), to_endpoints(inner={"name": "x", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"}}),
        "transport_socket"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(proxy_kind, name):
    """By both, and here by place."""
    filter_, transport, part = REFUSED[name]
    code, output = Proxy(proxy_kind).validate(bootstrap(
        [listening("tcp", free_port(), filter_)], [cluster("up", 1, **transport)]))
    assert code != 0 and (proxy_kind == "envoy" or part in output), output


OURS_ALONE = {
    "where TLVs go": (reader(tlv_location="FILTER_STATE"), {}, "tlv_location"),
    "a format": (reader(), to_endpoints(added_tlvs=[{"type": 1, "format_string": {
        "text_format_source": {"inline_string": "x"}}}]), "format_string"),
    "the key of pools": (reader(), proxied("V2", tlv_as_pool_key=True), "tlv_as_pool_key"),
    "no address": (reader(), proxied("V2", allow_unspecified_address=True), "allow_unspecified_address"),
}


@pytest.mark.parametrize("name", OURS_ALONE)
def test_what_envoy_has_and_we_do_not(name):
    """Refused by its name."""
    filter_, transport, part = OURS_ALONE[name]
    code, output = Proxy("fairlead").validate(bootstrap(
        [listening("tcp", free_port(), filter_)], [cluster("up", 1, **transport)]))
    assert code != 0 and part in output and "not supported" in output, output


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority for all of these tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority):
    """What endpoints present."""
    return authority.issue("server", "DNS:server.example")


class SecureAnswering(Server):
    """Takes a header, then speaks TLS; keeps the headers, and answers each request."""

    def __init__(self, identity):
        self.heard, self.requests, self.ended = [], 0, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.certificate, identity.key)
        super().__init__(self._behave)

    @staticmethod
    def _exactly(peer, count):
        data = b""
        while len(data) < count and (part := peer.recv(count - len(data))):
            data += part
        return data

    def _behave(self, peer):
        head = self._exactly(peer, 16)
        if head.startswith(SIGNATURE):
            head += self._exactly(peer, int.from_bytes(head[14:16], "big"))
        else:
            while not head.endswith(b"\r\n"):
                head += self._exactly(peer, 1)
        self.heard.append(head)
        with contextlib.suppress(OSError), self.context.wrap_socket(peer, server_side=True) as session:
            while session.recv(65536):
                self.requests += 1
                session.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        self.ended += 1


def trusting(authority):
    """A cluster's TLS."""
    return upstream_tls(sni="server.example", common_tls_context={
        "validation_context": authority.trust})


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_tls_behind_the_header(proxy_kind, authority, server, kind, version):
    """The header goes as it is; what is behind it is encrypted."""
    def scenario(one):
        port = free_port()
        with SecureAnswering(server) as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap(
                [listening(kind, port, reader(**ALL))],
                [cluster("up", upstream.port,
                         **to_endpoints(version, inner=trusting(authority), **ALL))], free_port()))
            with Connection(port) as client:
                client.send(told(*TLVS) + request_bytes())
                assert client.read_response().body == b"ok"
            return upstream.heard, proxy.stat("cluster.up.ssl.handshake")
    heard, _ = both(proxy_kind, scenario)
    assert heard == [told(*TLVS) if version == "V2" else b"PROXY TCP4 10.0.0.1 10.0.0.2 4660 80\r\n"]


def test_a_long_header_in_front_of_tls(proxy_kind, authority, server):
    """More than a socket takes at once."""
    port, long = free_port(), told(tlv(1, b"a" * 60000))
    with SecureAnswering(server) as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listening("http", port, reader(**ALL))],
            [cluster("up", upstream.port, **to_endpoints(inner=trusting(authority), **ALL),
                     upstream_bind_config={"socket_options": [{
                         "level": socket.SOL_SOCKET, "name": socket.SO_SNDBUF, "int_value": 4096}]})],
            free_port()))
        with Connection(port) as client:
            client.send(long + request_bytes())
            assert client.read_response().body == b"ok"
        assert upstream.heard == [long]


def test_a_certificate_behind_the_header_is_looked_at(proxy_kind, tmp_path, server):
    """TLS behind a header is no less TLS."""
    other = Authority(tmp_path, "another authority")
    port = free_port()
    with SecureAnswering(server) as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listening("http", port)],
            [cluster("up", upstream.port, **to_endpoints(inner=trusting(other)))], free_port()))
        with Connection(port) as client:
            client.send(request_bytes())
            assert client.read_response().status == 503
        assert proxy.stat("cluster.up.ssl.fail_verify_error") == 1


@pytest.mark.parametrize("secured", [False, True])
def test_a_client_keeps_its_connection(proxy_kind, authority, server, secured):
    """Requests of one client share a connection, and those of two never do."""
    def scenario(one):
        port = free_port()
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(SecureAnswering(server) if secured else Hearing())
            proxy = stack.enter_context(Proxy(one))
            inner = trusting(authority) if secured else None
            proxy.start(bootstrap([listening("http", port)],
                                  [cluster("up", upstream.port, **to_endpoints(inner=inner))],
                                  free_port()))
            clients = [stack.enter_context(Connection(port)) for _ in range(3)]
            for client in clients * 3:
                client.send(request_bytes())
                assert client.read_response().status == 200
            ports = [client.socket.getsockname()[1] for client in clients]
            heard = [int.from_bytes(head[24:26], "big") for head in upstream.heard]
            assert heard == ports
            return proxy.stat("cluster.up.upstream_cx_total"), proxy.stat("cluster.up.upstream_rq_total")
    assert both(proxy_kind, scenario) == (3, 9)


def test_connections_end_with_their_client(proxy_kind):
    """Nobody else could use them."""
    if proxy_kind == "envoy":
        pytest.skip("Envoy keeps them until they time out")
    port = free_port()
    with Hearing() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listening("http", port)],
                              [cluster("up", upstream.port, **to_endpoints())], free_port()))
        for _ in range(3):
            with Connection(port) as client:
                client.send(request_bytes())
                assert client.read_response().status == 200
                assert proxy.stat("cluster.up.upstream_cx_active") == 1
            proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        assert proxy.stat("cluster.up.upstream_cx_total") == 3


def test_many_clients_at_once(proxy_kind):
    """More than a host has pools for: each is announced as itself."""
    port = free_port()
    with Hearing() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listening("http", port)],
                              [cluster("up", upstream.port, **to_endpoints())], free_port()))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Connection(port)) for _ in range(300)]
            for client in clients:
                client.send(request_bytes())
                assert client.read_response().status == 200
            ports = [client.socket.getsockname()[1] for client in clients]
            assert [int.from_bytes(head[24:26], "big") for head in upstream.heard] == ports
            # The first ones' pools were given up meanwhile.
            clients[0].send(request_bytes())
            assert clients[0].read_response().status == 200
        proxy.wait_stat("cluster.up.upstream_cx_active", 0) if proxy_kind != "envoy" else None


@pytest.mark.unsanitized("logs in the order of one worker")
@pytest.mark.parametrize("version", ["V1", "V2"])
def test_http2_behind_the_header(proxy_kind, tmp_path, version):
    """Streams of one client share a connection whose far end knows the client."""
    def scenario(one):
        ports, path = (free_port(), free_port()), tmp_path / one
        far = http_listener("far", ports[1], routes=[{
            "match": {"prefix": "/"}, "direct_response": {"status": 200}}],
            access_log=(path, "%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%\n"))
        far = {**far, "listener_filters": [reader()]}
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        up = cluster("up", ports[1], **to_endpoints(version), typed_extension_protocol_options={
            options: {"@type": f"type.googleapis.com/{options}",
                      "explicit_http_config": {"http2_protocol_options": {}}}})
        with Proxy(one) as proxy:
            proxy.start(bootstrap([listening("http", ports[0], reader()), far], [up], free_port()))
            for number in range(2):
                with Connection(ports[0]) as client:
                    client.send(told(addresses=IPV4[:3] + bytes([number + 1]) + IPV4[4:]))
                    for _ in range(2):
                        client.send(request_bytes())
                        assert client.read_response().status == 200
            until(lambda: path.exists() and path.read_text().count("\n") == 4)
            return path.read_text(), proxy.stat("cluster.up.upstream_cx_http2_total")
    text, connections = both(proxy_kind, scenario)
    assert connections == 2 and text.splitlines()[0] == "HTTP/2 10.0.0.1:4660 10.0.0.2:80"


CHECKS = {
    "http": {"http_health_check": {"path": "/healthz"}},
    "tcp": {"tcp_health_check": {"send": {"text": "68656c6c6f"}, "receive": [{"text": "6f6b"}]}},
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("secured", [False, True])
def test_health_checks_speak_for_themselves(proxy_kind, authority, server, version, check, secured):
    """A check is about nobody's connection, and an endpoint that needs a header gets one."""
    def scenario(one):
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(SecureAnswering(server) if secured else Heading())
            up = cluster("up", upstream.port, **to_endpoints(
                version, inner=trusting(authority) if secured else None), health_checks=[{
                    "timeout": "2s", "interval": "60s", "unhealthy_threshold": 1,
                    "healthy_threshold": 1,
                    **CHECKS[check]}])
            proxy = stack.enter_context(Proxy(one))
            proxy.start(bootstrap([listening("http", free_port())], [up], free_port()))
            proxy.wait_stat("cluster.up.health_check.success", 1)
            until(lambda: upstream.heard)
            head = upstream.heard[0]
            if version == "V1":
                assert int(head.split()[5]) == upstream.port
                return re.sub(rb"\d+ \d+\r\n$", b"", head)
            return head
    both(proxy_kind, scenario)


class Heading(SecureAnswering):
    """The same without TLS."""

    def __init__(self):
        self.heard, self.requests, self.ended = [], 0, 0
        Server.__init__(self, self._behave)
        self.context = self

    @contextlib.contextmanager
    def wrap_socket(self, peer, server_side):
        """The socket itself."""
        assert server_side
        yield peer
