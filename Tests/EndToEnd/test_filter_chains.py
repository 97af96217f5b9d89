"""Which filter chain of a listener takes a connection: the same as in Envoy, step by step.

Both proxies run all tables in one process each; a chain is known by the statistics of its connection
manager. A PROXY header in front of a probe gives it any address, so that sources and destinations
need no network of their own.
"""

import itertools
import socket
import ssl
import struct

import pytest

from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import address, listener
from harness.waiting import until

_LISTENER = "type.googleapis.com/envoy.extensions.filters.listener"
TLS = {"name": "tls", "typed_config": {
    "@type": f"{_LISTENER}.tls_inspector.v3.TlsInspector"}}
HTTP = {"name": "http", "typed_config": {
    "@type": f"{_LISTENER}.http_inspector.v3.HttpInspector"}}
HELLO = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
PROXY = {"name": "proxy", "typed_config": {
    "@type": f"{_LISTENER}.proxy_protocol.v3.ProxyProtocol",
    "allow_requests_without_proxy_protocol": True}}


def cidr(*ranges):
    """Ranges as the API has them."""
    return [{"address_prefix": r.split("/")[0], "prefix_len": int(r.split("/")[1])} for r in ranges]


def plain(source="127.0.0.1", proxied=None, data=b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"):
    """A plain request; `proxied` is (source, source port, destination, destination port)."""
    return source, header(proxied) + data


def header(proxied):
    """A PROXY header, version 2."""
    if proxied is None:
        return b""
    source, source_port, destination, port = proxied
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = (socket.inet_pton(family, source) + socket.inet_pton(family, destination)
            + struct.pack("!HH", source_port, port))
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, kind, len(body)) + body


def hello(name=None, protocols=(), source="127.0.0.1", proxied=None):
    """What a TLS client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return source, header(proxied) + out.read()


def to(source="127.0.0.1", source_port=1000, destination="127.0.0.1", port=80, **probe):
    """A plain request from and to addresses that a PROXY header tells."""
    return plain(proxied=(source, source_port, destination, port), **probe)


# Each: listener filters, chains (name: match), default chain or None, probes: (probe, chain or None).
TABLES = {
    "one chain without criteria takes everything": (
        [], {"all": {}}, None, [(plain(), "all")]),
    "without a chain that fits, the default chain": (
        [PROXY], {"a": {"destination_port": 81}}, "rest",
        [(to(port=81), "a"), (to(port=82), "rest")]),
    "without any, the connection is closed": (
        [PROXY], {"a": {"destination_port": 81}}, None, [(to(port=82), None)]),
    "the port decides first, and nothing is taken back": (
        [PROXY], {
            "port": {"destination_port": 81, "prefix_ranges": cidr("10.0.0.0/8")},
            "any": {"prefix_ranges": cidr("192.168.0.0/16")}, "all": {}}, "rest",
        [(to(port=81, destination="10.1.1.1"), "port"),
         (to(port=81, destination="192.168.1.1"), "rest"),
         (to(port=80, destination="192.168.1.1"), "any"),
         (to(port=80, destination="10.1.1.1"), "all")]),
    "the narrowest destination range": (
        [PROXY], {
            "wide": {"prefix_ranges": cidr("10.0.0.0/8", "fd00::/8")},
            "middle": {"prefix_ranges": cidr("10.1.0.0/16")},
            "narrow": {"prefix_ranges": cidr("10.1.1.1/32")}, "all": {}}, None,
        [(to(destination="10.2.0.1"), "wide"), (to(destination="10.1.2.1"), "middle"),
         (to(destination="10.1.1.1"), "narrow"), (to(destination="11.0.0.1"), "all"),
         (to("fd00::1", destination="fd01::1"), "wide"), (to("::1", destination="fe80::1"), "all")]),
    "the server's name: exact, then the longest suffix, then none": (
        [TLS], {
            "exact": {"server_names": ["www.example.com", "UPPER.example.com"]},
            "suffix": {"server_names": ["*.example.com"]},
            "top": {"server_names": ["*.com"]}, "none": {}}, None,
        [(hello("www.example.com"), "exact"), (hello("WWW.Example.Com"), "exact"),
         (hello("upper.example.com"), "exact"), (hello("a.b.example.com"), "suffix"),
         (hello("example.com"), "top"), (hello("example.org"), "none"), (hello(), "none"),
         (plain(), "none")]),
    "a name that leads to a chain is not taken back": (
        [TLS], {
            "name": {"server_names": ["a.com"], "application_protocols": ["h2"]},
            "other": {"application_protocols": ["http/1.1"]}}, "rest",
        [(hello("a.com", ["h2"]), "name"), (hello("a.com", ["http/1.1"]), "rest"),
         (hello("b.com", ["http/1.1"]), "other"), (hello("b.com", ["h2"]), "rest")]),
    "the transport protocol": (
        [TLS], {
            "tls": {"transport_protocol": "tls"}, "raw": {"transport_protocol": "raw_buffer"}}, None,
        [(hello("a.com"), "tls"), (plain(), "raw")]),
    "a transport protocol that is not asked for takes both": (
        [TLS], {"tls": {"transport_protocol": "tls"}, "any": {}}, None,
        [(hello(), "tls"), (plain(), "any")]),
    "application protocols in the client's order": (
        [TLS], {
            "one": {"application_protocols": ["http/1.1"]},
            "two": {"application_protocols": ["h2", "istio"]}, "none": {}}, None,
        [(hello(protocols=["h2", "http/1.1"]), "two"), (hello(protocols=["http/1.1", "h2"]), "one"),
         (hello(protocols=["x", "istio"]), "two"), (hello(protocols=["x"]), "none"),
         (hello(), "none")]),
    "what plain HTTP speaks": (
        [TLS, HTTP], {
            "two": {"application_protocols": ["h2c"]}, "one": {"application_protocols": ["http/1.1"]},
            "old": {"application_protocols": ["http/1.0"]}, "none": {}}, None,
        [(plain(), "one"), (plain(data=b"GET / HTTP/1.0\r\n\r\n"), "old"),
         (plain(data=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)), "two"),
         (plain(data=b"\x01\x02\x03\x04 nothing\r\n"), "none"), (hello(), "none")]),
    "the direct source, whatever a proxy says": (
        [PROXY], {
            "direct": {"direct_source_prefix_ranges": cidr("127.0.0.2/32")},
            "other": {"direct_source_prefix_ranges": cidr("127.0.0.0/8")}}, None,
        [(plain("127.0.0.2"), "direct"), (plain("127.0.0.3"), "other"),
         (plain("127.0.0.2", proxied=("10.0.0.1", 1, "10.0.0.2", 2)), "direct")]),
    "the kind of source": (
        [PROXY], {
            "local": {"source_type": "SAME_IP_OR_LOOPBACK"}, "external": {"source_type": "EXTERNAL"}},
        None,
        [(to("127.0.0.1", destination="1.1.1.1"), "local"), (to("127.0.0.9"), "external"),
         (to("10.0.0.1", destination="10.0.0.1"), "local"),
         (to("10.0.0.1", destination="10.0.0.2"), "external"), (to("::1", destination="::2"), "local"),
         (plain(), "local")]),
    "local sources have their own chain, others any": (
        [PROXY], {"local": {"source_type": "SAME_IP_OR_LOOPBACK"}, "any": {}}, None,
        [(to("127.0.0.1"), "local"), (to("10.0.0.1", destination="10.0.0.2"), "any")]),
    "the narrowest source range, then its port": (
        [PROXY], {
            "wide": {"source_prefix_ranges": cidr("10.0.0.0/8")},
            "port": {"source_prefix_ranges": cidr("10.0.0.0/8"), "source_ports": [5, 6]},
            "narrow": {"source_prefix_ranges": cidr("10.1.0.0/16"), "source_ports": [7]}}, "rest",
        [(to("10.2.0.1", 4), "wide"), (to("10.2.0.1", 6), "port"), (to("10.1.0.1", 7), "narrow"),
         (to("10.1.0.1", 5), "rest"), (to("11.0.0.1", 5), "rest")]),
    "the destination's range goes before the name": (
        [PROXY, TLS], {
            "range": {"prefix_ranges": cidr("10.0.0.0/8")}, "name": {"server_names": ["a.com"]}}, "rest",
        [(hello("a.com", proxied=("1.1.1.1", 1, "10.0.0.1", 1)), "range"),
         (hello("a.com", proxied=("1.1.1.1", 1, "11.0.0.1", 1)), "name"),
         (hello("b.com", proxied=("1.1.1.1", 1, "11.0.0.1", 1)), "rest")]),
    "the name goes before the source": (
        [PROXY, TLS], {
            "source": {"source_prefix_ranges": cidr("10.0.0.0/8")},
            "name": {"server_names": ["a.com"], "source_prefix_ranges": cidr("11.0.0.0/8")}}, "rest",
        [(hello("a.com", proxied=("10.0.0.1", 1, "1.0.0.1", 1)), "rest"),
         (hello("a.com", proxied=("11.0.0.1", 1, "1.0.0.1", 1)), "name"),
         (hello("b.com", proxied=("10.0.0.1", 1, "1.0.0.1", 1)), "source")]),
    "without an inspector nobody sees a name": (
        [], {"a": {"server_names": ["a.com"]}, "tls": {"transport_protocol": "tls"}}, "rest",
        [(hello("a.com"), "rest"), (plain(), "rest")]),
}


# The nine rules in the order in which they are asked, each with what it asks for.
RULES = {
    "destination port": {"destination_port": 81},
    "destination range": {"prefix_ranges": cidr("10.0.0.0/8")},
    "server name": {"server_names": ["a.com"]},
    "transport protocol": {"transport_protocol": "tls"},
    "application protocol": {"application_protocols": ["http/1.1"]},
    "direct source": {"direct_source_prefix_ranges": cidr("127.0.0.2/32")},
    "kind of source": {"source_type": "EXTERNAL"},
    "source range": {"source_prefix_ranges": cidr("127.0.0.0/8", "172.16.0.0/12")},
    "source port": {"source_ports": [7]},
}


def fitting(*rules):
    """A probe that these rules fit, and of the others none but what comes with them."""
    destination = "10.0.0.1" if "destination range" in rules else "11.0.0.1"
    external, ranged = "kind of source" in rules, "source range" in rules
    if external:
        source = "172.16.0.1" if ranged else "9.9.9.9"
    else:
        source = "127.0.0.1" if ranged else destination
    probe = {
        "source": "127.0.0.2" if "direct source" in rules else "127.0.0.1",
        "proxied": (source, 7 if "source port" in rules else 8, destination,
                    81 if "destination port" in rules else 80)}
    speaks_http1 = "application protocol" in rules
    if {"server name", "transport protocol"} & set(rules):
        name = "a.com" if "server name" in rules else "b.com"
        return hello(name, ["http/1.1"] if speaks_http1 else ["h2"], **probe)
    return plain(data=b"GET / HTTP/1.%d\r\nhost: a\r\n\r\n" % speaks_http1, **probe)


# Whatever both rules of a pair fit, the one that is asked first decides.
TABLES.update({
    f"the {first} goes before the {second}": (
        [PROXY, TLS, HTTP], {"before": RULES[first], "after": RULES[second]}, "rest",
        [(fitting(first, second), "before"), (fitting(first), "before"),
         (fitting(second), "after"), (fitting(), "rest")])
    for first, second in itertools.combinations(RULES, 2)})


def prefix(table, chain):
    """The statistics' prefix of a chain."""
    return f"t{list(TABLES).index(table)}_{chain}"


def make_listener(table, port):
    """The listener of one table."""
    filters, chains, default, _ = TABLES[table]

    def chain(name, match):
        made = listener(prefix(table, name), port, HELLO)["filter_chains"][0]
        return {"name": name, **({"filter_chain_match": match} if match else {}), **made}

    made = {"name": f"listener-{port}", "address": address(port), "listener_filters": filters,
            "filter_chains": [chain(name, match) for name, match in chains.items()]}
    if default:
        made["default_filter_chain"] = chain(default, None)
    return made


class Both:
    """Envoy and Fairlead with all tables."""

    def __init__(self, kinds):
        self.proxies = {}
        self.ports = {}
        for kind in kinds:
            ports = {table: free_port() for table in TABLES}
            self.ports[kind] = ports
            self.proxies[kind] = Proxy(kind).start(bootstrap(
                [make_listener(table, port) for table, port in ports.items()], [], free_port()))

    def counts(self, kind, table):
        """Connections of each chain of a table, and of none."""
        number = list(TABLES).index(table)
        stats = self.proxies[kind].stats("downstream_cx_total|no_filter_chain_match")
        found = {name.split(".")[1].split("_", 1)[1]: value for name, value in stats.items()
                 if name.startswith(f"http.t{number}_") and name.endswith("downstream_cx_total")}
        port = self.ports[kind][table]
        if missed := stats.get(f"listener.127.0.0.1_{port}.no_filter_chain_match"):
            found[None] = missed
        return found

    def taken_by(self, kind, table, probe):
        """The chain that takes a probe."""
        source, data = probe
        before = self.counts(kind, table)
        with socket.socket() as client:
            client.bind((source, 0))
            client.settimeout(5)
            client.connect(("127.0.0.1", self.ports[kind][table]))
            client.sendall(data)
            until(lambda: self.counts(kind, table) != before, what="a chain to take the connection")
        after = self.counts(kind, table)
        return [name for name, count in after.items() if count != before.get(name, 0)]

    def stop(self):
        """Ends both."""
        for proxy in self.proxies.values():
            proxy.stop()


@pytest.fixture(scope="module")
def both(proxy_kind):
    """Both proxies; Envoy alone with --envoy-only."""
    made = Both(["envoy"] if proxy_kind == "envoy" else ["envoy", "fairlead"])
    yield made
    made.stop()


@pytest.mark.parametrize("table", TABLES)
def test_chains(both, table):
    """Each probe of a table reaches the same chain in both proxies, and the one that is expected."""
    for probe, expected in TABLES[table][3]:
        for kind in both.proxies:
            assert both.taken_by(kind, table, probe) == [expected], (kind, probe)


REFUSED = {
    "the same criteria twice": ([{"destination_port": 1}, {"destination_port": 1}], {}),
    "nothing tells two chains apart": ([{}, {}], {}),
    "a name within a list again": ([{"server_names": ["a", "b"]}, {"server_names": ["b"]}], {}),
    "a wildcard within a name": ([{"server_names": ["a*.com"]}], {}),
    "a prefix that is no address": ([{"prefix_ranges": cidr("a.b/8")}], {}),
    "a port out of range": ([{"destination_port": 65536}], {}),
    "no chain at all": ([], {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(proxy_kind, name):
    """What Envoy refuses is refused, with the place."""
    matches, extra = REFUSED[name]
    chains = [{**listener("x", 1, HELLO)["filter_chains"][0], "filter_chain_match": match}
              for match in matches]
    made = {"name": "l", "address": address(free_port()), "filter_chains": chains, **extra}
    code, output = Proxy(proxy_kind).validate(bootstrap([made], []))
    assert code != 0
    if proxy_kind == "fairlead":
        assert "static_resources.listeners[0].filter_chains" in output, output


def test_a_client_that_says_nothing_is_let_go(proxy_kind):
    """`listener_filters_timeout`: closed, or handed on with what is known of it."""
    ports = free_port(), free_port()
    made = []
    for port, goes_on in zip(ports, (False, True)):
        one = listener(f"l{port}", port, HELLO)
        one.update(listener_filters=[TLS], listener_filters_timeout="0.2s",
                   continue_on_listener_filters_timeout=goes_on)
        made.append(one)
    with Proxy(proxy_kind).start(bootstrap(made, [], free_port())) as proxy:
        with socket.create_connection(("127.0.0.1", ports[0])) as client:
            client.settimeout(5)
            assert client.recv(1) == b""
        proxy.wait_stat(f"listener.127.0.0.1_{ports[0]}.downstream_pre_cx_timeout", 1)
        with socket.create_connection(("127.0.0.1", ports[1])) as client:
            client.settimeout(5)
            proxy.wait_stat(f"listener.127.0.0.1_{ports[1]}.downstream_pre_cx_timeout", 1)
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"


def test_a_client_that_leaves_early_is_counted(proxy_kind):
    """Its last words may be half a handshake."""
    port = free_port()
    one = {**listener("l", port, HELLO), "listener_filters": [TLS]}
    with Proxy(proxy_kind).start(bootstrap([one], [], free_port())) as proxy:
        scope = f"listener.127.0.0.1_{port}."
        for number, words in enumerate((b"", b"\x16\x03\x01")):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(words)
            proxy.wait_stat(scope + "downstream_listener_filter_remote_close", number + 1)
        assert proxy.stat(scope + "downstream_pre_cx_active") == 0


@pytest.mark.parametrize("step", [1, 7])
def test_openings_in_pieces(proxy_kind, step):
    """A PROXY header, a client's first TLS message and a request line may come in any pieces."""
    port = free_port()
    chains = [
        {**listener("tls", port, HELLO)["filter_chains"][0], "name": "tls",
         "filter_chain_match": {"server_names": ["a.com"], "destination_port": 99}},
        {**listener("http", port, HELLO)["filter_chains"][0], "name": "http",
         "filter_chain_match": {"application_protocols": ["http/1.1"]}}]
    one = {"name": "l", "address": address(port), "listener_filters": [PROXY, TLS, HTTP],
           "filter_chains": chains}
    with Proxy(proxy_kind).start(bootstrap([one], [], free_port())) as proxy:
        for chain, (_, data) in (
                ("tls", hello("a.com", proxied=("1.2.3.4", 1, "1.2.3.5", 99))), ("http", plain())):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(data), step):
                    client.send(data[start:start + step])
                proxy.wait_stat(f"http.{chain}.downstream_cx_total", 1)


def test_a_bad_proxy_header_ends_the_connection(proxy_kind):
    """Whatever stands behind it."""
    port = free_port()
    needed = {"name": "p", "typed_config": {"@type": PROXY["typed_config"]["@type"]}}
    one = {**listener("l", port, HELLO), "listener_filters": [needed]}
    with Proxy(proxy_kind).start(bootstrap([one], [], free_port())) as proxy:
        for data, stat in ((b"PROXY TCP4 1.2.3.4 nonsense 1 2\r\n", "versions.v1.error"),
                           (header(("1.1.1.1", 1, "1.1.1.2", 2))[:12] + b"\x31\x11\0\0",
                            "versions.v2.error"),
                           (b"GET / HTTP/1.1\r\n\r\n", "not_found_disallowed")):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.settimeout(5)
                client.sendall(data)
                try:
                    assert client.recv(1) == b""
                except ConnectionResetError:
                    pass
            proxy.wait_stat(f"proxy_proto.{stat}", 1)


def test_handed_over_to_the_listener_for_the_destination(proxy_kind):
    """`use_original_dst`, and a listener that is bound to nothing."""
    ports = free_port(), free_port(), free_port()
    first = {**listener("first", ports[0], HELLO), "listener_filters": [PROXY],
             "use_original_dst": True}
    exact = {**listener("exact", ports[1], HELLO, host="10.9.9.9"), "bind_to_port": False}
    wide = {**listener("wide", ports[2], HELLO, host="0.0.0.0"), "bind_to_port": False}
    with Proxy(proxy_kind).start(bootstrap([first, exact, wide], [], free_port())) as proxy:
        for name, destination, port in (("exact", "10.9.9.9", ports[1]), ("wide", "10.1.1.1", ports[2]),
                                        ("first", "10.1.1.1", 9)):
            with socket.create_connection(("127.0.0.1", ports[0])) as client:
                client.sendall(plain(proxied=("10.0.0.1", 1, destination, port))[1])
                proxy.wait_stat(f"http.{name}.downstream_rq_total", 1)
        for port in ports[1:]:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
