"""How connections to endpoints begin: the PROXY protocol's header in front of everything, and the
address they come from. Compared with the real Envoy.
"""

import base64
import contextlib
import re
import socket
import struct

import pytest

from harness.client import Connection, request_bytes
from harness.ports import free_port
from harness.proxy import Proxy, StartFailure, bootstrap
from harness.simple import cluster, listener as http_listener
from harness.waiting import until
from test_tcp import Server, connect, listener, receive_all, tcp

_SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"
RAW = {"name": "raw", "typed_config": {"@type": f"{_SOCKETS}.raw_buffer.v3.RawBuffer"}}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxied(version=None, inner=None, **config):
    """A cluster's transport socket."""
    if version:
        config["config"] = {"version": version}
    return {"transport_socket": {"name": "proxy", "typed_config": {
        "@type": f"{_SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "transport_socket": inner or RAW, **config}}}


def source(address, port=0, **config):
    """An `upstream_bind_config`."""
    return {"upstream_bind_config": {
        "source_address": {"address": address, "port_value": port}, **config}}


class Answering(Server):
    """Keeps each connection's first bytes and where it came from, and answers each request."""

    def __init__(self):
        self.heard, self.peers = [], []
        super().__init__(self._behave)

    def _behave(self, peer):
        self.peers.append(peer.getpeername())
        data = b""
        while b"\r\n\r\n" not in data.removeprefix(SIGNATURE):
            part = peer.recv(65536)
            if not part:
                break
            data += part
        self.heard.append(data)
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                if not peer.recv(65536):
                    return


def head_of(data, client, port):
    """The header as text without what differs from run to run."""
    if data.startswith(SIGNATURE):
        end = 16 + int.from_bytes(data[14:16], "big")
        binary = bytearray(data[12:end])
        # Where the ports of the two addresses are, if there are any. The same bytes elsewhere are no port.
        ports = {0x11: 12, 0x21: 36}.get(data[13], len(binary))
        for place in (ports, ports + 2):
            for number, mark in ((client, b"CC"), (port, b"PP")):
                if binary[place:place + 2] == number.to_bytes(2, "big"):
                    binary[place:place + 2] = mark
        return bytes(binary)
    line = data.partition(b"\r\n")[0]
    return re.sub(rb"\b%d\b" % client, b"CC", re.sub(rb"\b%d\b" % port, b"PP", line))


@pytest.mark.parametrize("version", [None, "V1", "V2"])
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_the_header_tells_of_the_client(proxy_kind, version, kind):
    """The same header as Envoy's, in front of the first byte."""
    told = {}
    for one in {"envoy", proxy_kind}:
        port = free_port()
        chain = listener(port, tcp()) if kind == "tcp" else http_listener("main", port)
        with Answering() as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap(
                [chain], [cluster("up", upstream.port, **proxied(version))], free_port()))
            with Connection(port) as client:
                own = client.socket.getsockname()[1]
                client.send(request_bytes())
                assert client.read_response().status == 200
            told[one] = head_of(upstream.heard[0], own, port)
    assert told[proxy_kind] == told["envoy"]


def test_two_clients_never_share_a_connection(proxy_kind):
    """What stands in the header is true for every request behind it."""
    port = free_port()
    with Answering() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([http_listener("main", port)],
                              [cluster("up", upstream.port, **proxied("V1"))], free_port()))
        ports = []
        for _ in range(3):
            with Connection(port) as client:
                ports.append(client.socket.getsockname()[1])
                client.send(request_bytes())
                assert client.read_response().status == 200
        heard = [int(line.split()[4]) for line in upstream.heard]
        assert heard == ports


def test_the_client_is_the_one_that_a_proxy_in_front_names(proxy_kind):
    """The listener's own PROXY header is what the endpoint hears."""
    port = free_port()
    reader = {"name": "proxy_protocol", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3"
                 ".ProxyProtocol"}}
    with Server(lambda peer: peer.sendall(peer.recv(300))) as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listener(port, tcp(), listener_filters=[reader])],
            [cluster("up", upstream.port, **proxied("V1"))], free_port()))
        with connect(port) as client:
            client.sendall(b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n")
            assert client.recv(300) == b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n"


BINDINGS = {
    "an address": (source("127.0.0.7"), {}),
    "the cluster manager's": ({}, {"cluster_manager": source("127.0.0.8")}),
    "the cluster's before the cluster manager's": (
        source("127.0.0.7"), {"cluster_manager": source("127.0.0.8")}),
}


@pytest.mark.parametrize("kind", ["tcp", "http"])
@pytest.mark.parametrize("name", BINDINGS)
def test_where_connections_begin(proxy_kind, name, kind):
    """`upstream_bind_config`: the endpoint sees the address, or there is no connection."""
    told = {}
    options, extra = BINDINGS[name]
    for one in {"envoy", proxy_kind}:
        port = free_port()
        chain = listener(port, tcp()) if kind == "tcp" else http_listener("main", port)
        with Answering() as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap(
                [chain], [cluster("up", upstream.port, **options)], free_port(), **extra))
            status = b""
            with connect(port) as client, contextlib.suppress(OSError):
                client.sendall(request_bytes(headers=[("connection", "close")]))
                status = receive_all(client)[9:12] if kind == "http" else client.recv(100)[9:12]
            told[one] = status, [peer[0] for peer in upstream.peers], {
                key: value for key, value in proxy.stats().items()
                if re.match(r"cluster\.up\.upstream_cx_(total|connect_fail|none_healthy)", key)}
    assert told[proxy_kind] == told["envoy"]


@pytest.mark.parametrize("address", ["192.0.2.1", "::1"])
def test_an_address_that_cannot_be_bound_is_no_beginning(proxy_kind, address):
    """The machine does not have it, or it is of another family: the endpoint hears nothing."""
    if proxy_kind == "envoy":
        pytest.skip("Envoy connects all the same, and fails then")
    port = free_port()
    with Answering() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([http_listener("main", port)], [
            cluster("up", upstream.port, **source(address))], free_port()))
        with Connection(port) as client:
            client.send(request_bytes())
            assert client.read_response().status == 503
        assert upstream.taken == 0
        assert proxy.stat("cluster.up.bind_errors") == 1
        assert proxy.stat("cluster.up.upstream_cx_connect_fail") == 1


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_what_cannot_be_bound_is_counted(proxy_kind, kind):
    """As Envoy counts it."""
    for one in {"envoy", proxy_kind}:
        port = free_port()
        chain = listener(port, tcp()) if kind == "tcp" else http_listener("main", port)
        with Proxy(one) as proxy:
            proxy.start(bootstrap([chain], [cluster("up", 1, **source("192.0.2.1"))], free_port()))
            with connect(port) as client, contextlib.suppress(OSError):
                client.sendall(request_bytes(headers=[("connection", "close")]))
                receive_all(client)
            assert proxy.stat("cluster.up.bind_errors") == 1, one


@pytest.mark.parametrize("check", [
    {"tcp_health_check": {}}, {"http_health_check": {"path": "/"}}])
def test_health_checks_begin_there_too(proxy_kind, check):
    """An endpoint that lets only the source address in is well."""
    for one in {"envoy", proxy_kind}:
        with Answering() as upstream, Proxy(one) as proxy:
            proxy.start(bootstrap([http_listener("main", free_port())], [cluster(
                "up", upstream.port, **source("127.0.0.7"), health_checks=[{
                    "timeout": "1s", "interval": "1s", "unhealthy_threshold": 1,
                    "healthy_threshold": 1, **check}])], free_port()))
            until(lambda: upstream.peers, what="a health check")
            assert upstream.peers[0][0] == "127.0.0.7", one


def test_one_port_serves_many_connections(proxy_kind):
    """A bound address without a port leaves the port to the kernel, each time."""
    port = free_port()
    with Answering() as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([listener(port, tcp())], [
            cluster("up", upstream.port, **source("127.0.0.7"))], free_port()))
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(connect(port))
                client.sendall(request_bytes())
                assert client.recv(100)
        assert len(set(upstream.peers)) == 20


REFUSED = {
    "a name for an address": (source("localhost"), "source_address"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(proxy_kind, name):
    """What is not there is refused by its name."""
    if proxy_kind == "envoy":
        pytest.skip("what Fairlead does not have")
    options, part = REFUSED[name]
    code, output = Proxy(proxy_kind).validate(
        bootstrap([listener(free_port(), tcp())], [cluster("up", 1, **options)]))
    assert code != 0 and part in output, output


def option(value=700, level=socket.IPPROTO_TCP, name=socket.TCP_MAXSEG, **more):
    """A `SocketOption`; by default one that the other end of a connection sees."""
    if isinstance(value, bytes):
        return {"level": level, "name": name, "buf_value": base64.b64encode(value).decode(), **more}
    return {"level": level, "name": name, "int_value": value, **more}


def segment(peer):
    """The largest segment that a connection sends, which the other end has a say in."""
    return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


@pytest.mark.parametrize("wanted", [
    None, option(), option(struct.pack("i", 700)), option(state="STATE_BOUND"),
    option(state="STATE_LISTENING")])
def test_options_of_listening_sockets(proxy_kind, wanted):
    """A client sees that the option is set, and when there is none, that there is none."""
    for kind in {"envoy", proxy_kind}:
        port = free_port()
        main = {**http_listener("main", port), "socket_options": [wanted] if wanted else []}
        with Proxy(kind).start(bootstrap([main], [cluster("up", 1)], free_port())):
            with connect(port) as client:
                assert (segment(client) <= 700) == (wanted is not None), kind


@pytest.mark.parametrize("place", ["cluster", "manager"])
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_options_of_upstream_sockets(proxy_kind, kind, place):
    """An endpoint sees that the option is set, with a source address or without."""
    for one in {"envoy", proxy_kind}:
        for more in ({}, source("127.0.0.2")["upstream_bind_config"]):
            port, seen = free_port(), []
            chain = listener(port, tcp()) if kind == "tcp" else http_listener("main", port)
            bind = {"upstream_bind_config": {"socket_options": [option()], **more}}

            def behave(peer):
                seen.append((segment(peer) <= 700, peer.getpeername()[0]))
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                peer.recv(1)
            with Server(behave) as upstream, Proxy(one) as proxy:
                proxy.start(bootstrap(
                    [chain], [cluster("up", upstream.port, **(bind if place == "cluster" else {}))],
                    free_port(), **({"cluster_manager": bind} if place == "manager" else {})))
                with Connection(port) as client:
                    client.send(request_bytes())
                    assert client.read_response().status == 200
            assert seen == [(True, "127.0.0.2" if more else "127.0.0.1")]


def test_options_that_the_kernel_refuses(proxy_kind):
    """A listener does not start; a request fails as if nobody could be reached."""
    wrong = option(name=9999)
    for kind in {"envoy", proxy_kind}:
        port = free_port()
        main = http_listener("main", port)
        with Proxy(kind) as proxy, pytest.raises(StartFailure):
            proxy.start(bootstrap(
                [{**main, "socket_options": [wrong]}], [cluster("up", 1)], free_port()), timeout=5)
        with Answering() as upstream, Proxy(kind) as proxy:
            proxy.start(bootstrap([main], [cluster(
                "up", upstream.port, upstream_bind_config={"socket_options": [wrong]})], free_port()))
            with Connection(port) as client:
                client.send(request_bytes())
                assert client.read_response().status == 503
            assert proxy.stat("cluster.up.upstream_cx_connect_fail") == 1
            # Envoy connects all the same, and closes at once.
            assert kind == "envoy" or upstream.taken == 0


@pytest.mark.parametrize("bad, complaint", [
    (option(1 << 40), "found 1099511627776"), (option(level=-(1 << 33)), "level"),
    ({"level": 1, "name": 1}, "needs an int_value or a buf_value"),
    (option(type={"stream": {}}), "type"), (option(state="STATE_BOUND"), "STATE_PREBIND only")])
def test_options_that_are_none(bad, complaint):
    """Refused by name and place."""
    code, output = Proxy("fairlead").validate(bootstrap([], [
        cluster("up", 1, upstream_bind_config={"socket_options": [bad]})]))
    assert code != 0 and complaint in output and "upstream_bind_config.socket_options[0]" in output
