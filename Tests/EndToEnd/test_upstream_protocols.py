"""What is spoken to an upstream when TLS (`auto_config`) or the client decides it."""

import ssl
import subprocess
import threading

import pytest

from harness.certificates import Authority
from harness.client import fetch
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import address, cluster, listener
from harness.tls import downstream_tls, upstream_tls
from harness.upstream import Upstream, reply

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
INSPECTOR = {"name": "tls", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def speaking(**options):
    """A cluster's choice of protocol."""
    return {"typed_extension_protocol_options": {OPTIONS: {
        "@type": f"type.googleapis.com/{OPTIONS}", **options}}}


@pytest.fixture
def authority(tmp_path):
    """An authority of this test's own."""
    return Authority(tmp_path)


@pytest.fixture
def run(proxy_kind, authority):
    """Starts a front that asks a back; returns (proxy, front's port).

    The back answers with what the client's hello offers by ALPN, and agrees to what is in `agrees`.
    """
    open_ = []

    def start(options, agrees=(), tls=True, front=None):
        ports = free_port(), free_port()
        secret = downstream_tls(
            common_tls_context=authority.issue("server").common(alpn_protocols=list(agrees)))
        back = listener("back", ports[1])
        if tls:
            back["listener_filters"] = [INSPECTOR]
        back["filter_chains"] = [
            chain(name, said, secret if tls else None)
            for name, said in (("h2", "h2"), ("http/1.1", "http/1.1"), (None, "nothing"))
            if tls or name is None]
        up = cluster("up", ports[1], **options)
        if tls:
            up["transport_socket"] = upstream_tls()
        first = listener("front", ports[0])
        if front:
            first["filter_chains"] = [{"filters": [front]}]
        proxy = Proxy(proxy_kind).start(bootstrap([first, back], [up], free_port()))
        open_.append(proxy)
        return proxy, ports[0]

    def chain(name, said, secret):
        made = listener("back", 1, [{"match": {"prefix": "/"}, "direct_response": {
            "status": 200, "body": {"inline_string": said}}}])["filter_chains"][0]
        made["name"] = said
        if name:
            made["filter_chain_match"] = {"application_protocols": [name]}
        if secret:
            made["transport_socket"] = secret
        return made

    yield start
    for proxy in open_:
        proxy.stop()


def curl(port, *options):
    """Asks as a user would; (protocol, body)."""
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "10", "--write-out", "\n%{http_version}", *options,
         f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, check=False)
    body, _, version = done.stdout.decode().rpartition("\n")
    return version, body


def spoken(proxy):
    """How many connections of each protocol the back has seen."""
    return tuple(proxy.stat(f"http.back.downstream_cx_http{n}_total") for n in (1, 2))


@pytest.mark.unsanitized("counts the connections that one worker shares")
@pytest.mark.parametrize("agrees, expected", [
    (["h2", "http/1.1"], (0, 1)), (["http/1.1", "h2"], (1, 0)), (["h2"], (0, 1)),
    (["http/1.1"], (1, 0)), ([], (1, 0))])
def test_tls_agrees_upon_the_protocol(run, agrees, expected):
    proxy, port = run(speaking(auto_config={}), agrees)
    for _ in range(3):
        # The matcher takes the first that is offered.
        assert curl(port, "--http1.1") == ("1.1", "h2")
    assert spoken(proxy) == expected
    assert proxy.stat("cluster.up.upstream_cx_http1_total") == expected[0]
    assert proxy.stat("cluster.up.upstream_cx_http2_total") == expected[1]


def test_an_upstream_that_agrees_to_http1_gets_a_connection_for_each_request(
        proxy_kind, authority):
    together = threading.Barrier(4)
    answer = reply()

    def behaviour(exchange):
        together.wait(5)
        answer(exchange)

    behaviour.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = authority.issue("server")
    behaviour.tls.load_cert_chain(server.certificate, server.key)
    port = free_port()
    with Upstream(behaviour) as upstream, Proxy(proxy_kind).start(bootstrap(
            [listener("front", port)], [cluster(
                "up", upstream.port, transport_socket=upstream_tls(),
                **speaking(auto_config={"http2_protocol_options": {
                    "max_concurrent_streams": 100}}))], free_port())):
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(fetch(port).status))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 4


@pytest.mark.unsanitized("counts the connections that one worker shares")
@pytest.mark.parametrize("tls", [False, True])
def test_an_upstream_is_spoken_to_as_the_client_speaks(run, tls):
    proxy, port = run(speaking(use_downstream_protocol_config={}), ["h2", "http/1.1"], tls)
    offered = ("h2", "http/1.1") if tls else ("nothing", "nothing")
    for _ in range(2):
        assert curl(port, "--http2-prior-knowledge") == ("2", offered[0])
        assert curl(port, "--http1.1") == ("1.1", offered[1])
    assert spoken(proxy) == (1, 1)
    assert proxy.stat("cluster.up.upstream_cx_total") == 2
    assert proxy.stat("cluster.up.upstream_cx_http1_total") == 1
    assert proxy.stat("cluster.up.upstream_cx_http2_total") == 1


@pytest.mark.parametrize("options, offered", [
    ({"explicit_http_config": {"http_protocol_options": {}}}, "http/1.1"),
    ({"explicit_http_config": {"http2_protocol_options": {}}}, "h2")])
def test_what_is_spoken_is_offered(run, options, offered):
    _, port = run(speaking(**options), ["h2", "http/1.1"])
    assert curl(port)[1] == offered


def test_opaque_bytes_are_offered_as_nothing(run):
    front = {"name": "tcp", "typed_config": {"@type": TCP, "stat_prefix": "t", "cluster": "up"}}
    _, port = run({}, ["h2", "http/1.1"], front=front)
    assert curl(port, "--http1.1") == ("1.1", "nothing")


def test_without_tls_nothing_can_be_agreed_upon():
    code, output = Proxy("fairlead").validate(bootstrap(
        [{"name": "main", "address": address(free_port()), "filter_chains": []}],
        [cluster("up", 1, **speaking(auto_config={}))]))
    assert code != 0
    assert "auto_config agrees upon the protocol in TLS" in output
