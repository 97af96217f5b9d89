"""Connections that the kernel has redirected, as a mesh does it: the proxy finds out where they were
going. Each test has a network of its own. The same code without a kernel's help: test_filter_chains.py
and test_original_dst.py, by the PROXY protocol.
"""

import contextlib
import socket

import pytest

from harness import network
from harness.ports import free_port
from harness.proxy import Proxy, StartFailure, bootstrap
from harness.simple import address, listener as http_listener
from harness.waiting import until
from test_original_dst import original
from test_tcp import Server, listener, tcp

ORIGINAL = {"name": "original_dst", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}}
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@pytest.fixture(name="alone")
def alone_in_a_network():
    """The test's own network."""
    with network.namespace():
        yield


@pytest.fixture(name="kinds")
def both_kinds(proxy_kind):
    """Whatever holds for us holds for Envoy."""
    return sorted({"envoy", proxy_kind})


def real(host, port):
    """The server that a client wants to reach: says where it is."""
    text = f"real {host} {port}".encode()

    def answer(peer):
        data = b""
        while b"\r\n\r\n" not in data:
            if not (part := peer.recv(65536)):
                return
            data += part
        peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
        peer.recv(1)
    return Server(answer, host, port)


def ask(host, port, source=None):
    """The body of an answer."""
    with network.connect(host, port, source) as client:
        client.sendall(REQUEST)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                data += part
                head, _, body = data.partition(b"\r\n\r\n")
                if body and b"content-length: %d\r\n" % len(body) in head + b"\r\n":
                    break
        return data.partition(b"\r\n\r\n")[2]


def hello(name, port, host, **extra):
    """A listener that answers by itself."""
    routes = [{"match": {"prefix": "/"}, "direct_response": {
        "status": 200, "body": {"inline_string": name}}}]
    return {**http_listener(name, port, routes, host=host), **extra}


@pytest.mark.parametrize("host, every", [("127.0.0.2", "0.0.0.0"), ("::1", "::")])
@pytest.mark.parametrize("by", ["filter", "listener"])
def test_redirected_connections(alone, kinds, host, every, by):
    """To where they were going, by TCP and by HTTP; or to the listener that is there for the address."""
    for kind in kinds:
        entrance = free_port()
        first = {**listener(entrance, tcp(cluster="passthrough")), "use_original_dst": True,
                 "address": address(entrance, every)}
        if by == "filter":
            first["listener_filters"] = [ORIGINAL]
        to_http = [{"match": {"prefix": "/"}, "route": {"cluster": "passthrough"}}]
        with Proxy(kind) as proxy, real(host, 80), real(host, 82), real(host, 83) as ours:
            log = proxy.directory / "log"
            inbound = {"original_dst_lb_config": {"upstream_port_override": ours.port}}
            proxy.start(bootstrap([
                first,
                hello("known", 81, host, bind_to_port=False),
                {**http_listener("web", 82, to_http, host=every, access_log=(
                    log, "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST%\n")), "bind_to_port": False},
                {**listener(84, tcp(cluster="inbound")), "address": address(84, host),
                 "bind_to_port": False},
            ], [original("passthrough"), original("inbound", **inbound)], free_port()))
            network.redirect([80, 81, 82, 84], entrance)
            assert ask(host, 80) == f"real {host} 80".encode()
            assert ask(host, 81) == b"known"
            assert ask(host, 82) == f"real {host} 82".encode()
            assert ask(host, 84) == f"real {host} 83".encode()
            place = f"[{host}]:82" if ":" in host else f"{host}:82"
            until(log.read_text, 5, "the log")
            assert log.read_text() == f"{place} {place}\n"
            assert proxy.stat("cluster.passthrough.membership_total") == 2
            # Nobody listens there: the client hears of it from us.
            network.redirect([85], entrance)
            with network.connect(host, 85) as client:
                assert receive_end(client) == b""
            assert proxy.stat("cluster.passthrough.upstream_cx_connect_fail") == 1
        network.run("nft", "flush", "ruleset")


def receive_end(client):
    """What comes until the connection ends, however it does."""
    with contextlib.suppress(ConnectionResetError):
        return client.recv(100)
    return b""


def test_freebind(alone, kinds):
    """A listener on an address that the machine does not have yet."""
    for kind in kinds:
        with Proxy(kind) as proxy:
            one = hello("early", 80, "10.9.9.9")
            with pytest.raises((StartFailure, AssertionError)):
                Proxy(kind).start(bootstrap([one], [], free_port()), timeout=3)
            proxy.start(bootstrap([{**one, "freebind": True}], [], free_port()))
            network.run("ip", "address", "add", "10.9.9.9/32", "dev", "lo")
            assert ask("10.9.9.9", 80) == b"early"
            network.run("ip", "address", "delete", "10.9.9.9/32", "dev", "lo")


@pytest.mark.parametrize("family, far, near, own", [
    ("ip", "10.9.9.9", "127.0.0.1", "0.0.0.0/0"), ("ip6", "fd00::9", "::1", "::/0")])
def test_transparent(alone, kinds, family, far, near, own):
    """TPROXY: a transparent listener gets connections to addresses that are nobody's, and knows which;
    so do the listener for that address and an ORIGINAL_DST cluster."""
    which = ["-6"] if family == "ip6" else []
    network.run("ip", *which, "rule", "add", "fwmark", str(network.MARK), "lookup", "100")
    network.run("ip", *which, "route", "add", "local", own, "dev", "lo", "table", "100")
    for kind in kinds:
        entrance = free_port()
        first = {**listener(entrance, tcp(cluster="up")), "use_original_dst": True,
                 "address": address(entrance, near), "listener_filters": [ORIGINAL],
                 "transparent": True}
        with Proxy(kind) as proxy, real(near, 83) as server:
            only_port = {"original_dst_lb_config": {"upstream_port_override": server.port}}
            proxy.start(bootstrap(
                [first, hello("known", 81, far, bind_to_port=False)],
                [original("up", **only_port)], free_port()))
            network.run("nft", "-f", "-", text="\n".join([
                f"add table {family} test",
                f"add chain {family} test in {{ type filter hook prerouting priority -150; }}",
                f"add rule {family} test in meta mark {network.MARK} tcp dport 80-82 "
                f"tproxy to :{entrance}"]))
            assert ask(far, 81, source=near) == b"known"
            # The address was kept: nobody is at the far end, which the near server does not know.
            with network.connect(near, 80) as client:
                client.sendall(REQUEST)
                assert client.recv(500).endswith(f"real {near} 83".encode())
        network.run("nft", "flush", "ruleset")
