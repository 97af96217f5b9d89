"""Whom TLS asks for and believes, taken from requests: `upstream_http_protocol_options`."""

import pytest

from harness.certificates import Authority
from harness.client import fetch
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.tls import TLSUpstream, upstream_tls
from harness.upstream import Upstream

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAMES = "DNS:server.example,DNS:*.wild.example,IP:10.0.0.7"


def options_of(**names):
    """A cluster's `typed_extension_protocol_options` with these `upstream_http_protocol_options`."""
    return {OPTIONS: {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "upstream_http_protocol_options": names}}


@pytest.fixture
def authority(tmp_path):
    """An authority of this test's own."""
    return Authority(tmp_path)


@pytest.fixture
def upstream(authority):
    """A TLS upstream that remembers for whom it was taken."""
    with TLSUpstream(authority.issue("server", NAMES)) as server:
        yield server


@pytest.fixture
def run(proxy_kind, authority, upstream):
    """Starts a proxy whose cluster has these options; returns (proxy, port)."""
    open_ = []

    def start(action=None, context=None, limit=None, **options):
        port = free_port()
        route = {"match": {"prefix": "/"}, "route": {"cluster": "up", **(action or {})}}
        backend = cluster(
            "up", upstream.port, typed_extension_protocol_options=options_of(**options),
            transport_socket=upstream_tls(
                common_tls_context={"validation_context": authority.trust}, **(context or {})))
        backend["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = (
            "endpoint.example")
        if limit:
            backend["circuit_breakers"] = {"thresholds": [{"max_connections": limit}]}
        proxy = Proxy(proxy_kind).start(
            bootstrap([listener("main", port, [route])], [backend], free_port()))
        open_.append(proxy)
        return proxy, port

    yield start
    for proxy in open_:
        proxy.stop()


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_requests_share_connections_by_name(run, upstream):
    proxy, port = run(auto_sni=True)
    for host in ("server.example", "a.wild.example", "SERVER.example:8443", "a.wild.example"):
        assert fetch(port, host=host).status == 200
    assert upstream.names == ["server.example", "a.wild.example"]
    assert proxy.stat("cluster.up.upstream_cx_total") == 2


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_without_tls_names_are_nobodys_business(proxy_kind):
    """Who connects could otherwise choose how many connections there are, as with Envoy."""
    port = free_port()
    with Upstream() as upstream, Proxy(proxy_kind).start(bootstrap(
            [listener("main", port)],
            [cluster("up", upstream.port, typed_extension_protocol_options=options_of(
                auto_sni=True))], free_port())) as proxy:
        for number in range(5):
            assert fetch(port, host=f"n{number}.example").status == 200
        assert proxy.stat("cluster.up.upstream_cx_total") == 1


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_an_address_is_not_asked_for(run, upstream):
    _, port = run(auto_sni=True)
    for host in ("127.0.0.1", "[::1]:80", "10.1.2.3:80"):
        assert fetch(port, host=host).status == 200
    assert upstream.names == [None]


@pytest.mark.parametrize("host, name", [("server.example", "server.example"),
                                        ("10.0.0.7", "configured.example")])
def test_the_request_goes_before_the_configuration(run, upstream, host, name):
    _, port = run(auto_sni=True, context={"sni": "configured.example"})
    assert fetch(port, host=host).status == 200
    assert upstream.names == [name]


@pytest.mark.parametrize("action, name", [
    ({"host_rewrite_literal": "server.example"}, "server.example"),
    ({"host_rewrite_header": "x-host"}, "header.example"),
    ({"auto_host_rewrite": True}, "client.example"),
])
def test_the_name_is_the_one_that_the_route_gives(run, upstream, action, name):
    _, port = run(action, auto_sni=True)
    assert fetch(port, host="client.example", headers={"x-host": "header.example"}).status == 200
    assert upstream.names == [name]


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_a_field_may_have_the_name(run, upstream):
    _, port = run(auto_sni=True, override_auto_sni_header="X-Name")
    for fields in ({"x-name": "a.wild.example:1"}, {}, {"x-name": ""}):
        assert fetch(port, host="server.example", headers=fields).status == 200
    assert upstream.names == ["a.wild.example", "server.example"]


@pytest.mark.parametrize("host, status", [
    ("server.example", 200), ("b.wild.example", 200), ("10.0.0.7:80", 200),
    ("wild.example", 503), ("10.0.0.8", 503), ("other.example", 503)])
def test_the_certificate_has_to_name_whom_the_request_is_for(run, host, status):
    proxy, port = run(auto_san_validation=True)
    assert fetch(port, host=host).status == status
    assert proxy.stat("cluster.up.ssl.fail_verify_san") == (0 if status == 200 else 1)


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_a_session_is_not_resumed_for_another_name(run, upstream):
    upstream.closes = True
    _, port = run(auto_san_validation=True, context={"max_session_keys": 4})
    assert fetch(port, host="server.example").status == 200
    assert fetch(port, host="server.example").status == 200
    assert fetch(port, host="other.example").status == 503
    assert [resumed for _, resumed, _ in upstream.handshakes] == [False, True]


def test_a_name_that_tls_cannot_carry_fails_its_request_alone(run):
    _, port = run(auto_sni=True)
    assert fetch(port, host=".".join(["n" * 50] * 6)).status == 503
    assert fetch(port, host="server.example").status == 200


@pytest.mark.unsanitized("counts the connections that one worker shares")
def test_connections_for_many_names_are_bounded(run):
    proxy, port = run(auto_sni=True, limit=1000)
    for number in range(300):
        assert fetch(port, host=f"n{number}.example").status == 200
    assert proxy.stat("cluster.up.upstream_cx_total") == 300
    assert proxy.stat("cluster.up.upstream_cx_active") == 256
    # The latest are still there.
    assert fetch(port, host="n299.example").status == 200
    assert fetch(port, host="n60.example").status == 200
    assert proxy.stat("cluster.up.upstream_cx_total") == 300


def test_names_that_cannot_be_believed_are_refused(authority):
    options = options_of(auto_san_validation=True)
    code, output = Proxy("fairlead").validate(bootstrap(
        [listener("main", free_port())], [cluster(
            "up", 1, typed_extension_protocol_options=options, transport_socket=upstream_tls())]))
    assert code != 0
    assert "auto_san_validation needs a validation_context" in output
