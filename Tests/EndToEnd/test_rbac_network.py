"""The network filter `rbac` before `tcp_proxy`, `echo` and the connection manager: who may go on, what
is counted, noted and logged, compared with the real Envoy.
"""

import contextlib
import re
import socket
import ssl

import pytest

from harness.certificates import Authority
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster
from harness.simple import listener as http_listener
from harness.tls import downstream_tls
from harness.waiting import until
from test_tcp import Server, connect, filter_of, listener, receive_all, tcp

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_NOTES = " ".join(
    f"%DYNAMIC_METADATA(envoy.filters.network.rbac:{prefix}{key})%" for prefix in ("", "p_")
    for key in ("shadow_effective_policy_id", "shadow_engine_result"))
LINE = ("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% "
        "%DOWNSTREAM_LOCAL_CLOSE_REASON% %DOWNSTREAM_DETECTED_CLOSE_TYPE% "
        "%CONNECTION_TERMINATION_DETAILS% %DYNAMIC_METADATA(envoy.common:access_log_hint)% "
        f"{_NOTES}\n")
ANY = {"any": True}
REQUEST = b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
STATS = re.compile(r"^(.*rbac|cluster\.up\.upstream_cx_(total|destroy)$|tcp\.tcp\.downstream_cx_total"
                   r"|http\.main\.downstream_cx_(total|destroy)$"
                   r"|listener\.[0-9._]+downstream_cx_(total|destroy)$)")


def rbac(**config):
    """The filter."""
    return filter_of("rbac", "RBAC", **{"stat_prefix": "guard", **config})


def policy(permission=None, principal=None):
    """A policy of one permission and one principal."""
    return {"permissions": [permission or ANY], "principals": [principal or ANY]}


def rules(action="ALLOW", **policies):
    """Rules."""
    return {"action": action, "policies": policies}


def logs(path, mark):
    """An access log to a file, each line with a mark."""
    return [{"name": "file", "typed_config": {
        "@type": _FILE_LOG, "path": str(path),
        "log_format": {"text_format_source": {"inline_string": f"{mark} {LINE}"}}}}]


HERE = {"address_prefix": "127.0.0.0", "prefix_len": 8}
THERE = {"address_prefix": "10.0.0.0", "prefix_len": 8}
NOTED = {"filter": "envoy.filters.network.rbac", "path": [{"key": "shadow_engine_result"}],
         "value": {"string_match": {"exact": "denied"}}}
HINTED = {"filter": "envoy.common", "path": [{"key": "access_log_hint"}],
          "value": {"bool_match": True}}
SCENARIOS = {
    "allowed": [rbac(rules=rules(p=policy()))],
    "denied": [rbac(rules=rules("DENY", **{"a policy": policy()}))],
    "denied by none": [rbac(rules=rules(p=policy({"not_rule": ANY})))],
    "no rules": [rbac()],
    "empty rules": [rbac(rules={})],
    "a shadow": [rbac(shadow_rules=rules("DENY", s=policy()), rules=rules(p=policy()))],
    "a shadow alone": [rbac(shadow_rules=rules(s=policy()))],
    "a shadow with a prefix": [
        rbac(shadow_rules=rules("DENY", s=policy()), shadow_rules_stat_prefix="p_")],
    "a shadow before a denial": [
        rbac(shadow_rules=rules("DENY", s=policy()), rules=rules("DENY", p=policy()))],
    "a prefix with a dot": [rbac(stat_prefix="guard.", rules=rules(p=policy()))],
    "a log": [rbac(rules=rules("LOG", p=policy()))],
    "a log that does not match": [rbac(rules=rules("LOG", p=policy({"not_rule": ANY})))],
    "a log as a shadow": [rbac(shadow_rules=rules("LOG", p=policy()))],
    "a delay": [rbac(rules=rules("DENY", p=policy()), delay_deny="0.2s")],
    "a delay of nothing": [rbac(rules=rules("DENY", p=policy()), delay_deny="0s")],
    "DENY, then ALLOW": [
        rbac(stat_prefix="no", rules=rules("DENY", p=policy({"destination_ip": THERE}))),
        rbac(stat_prefix="yes", rules=rules(p=policy(principal={"remote_ip": HERE})))],
    "DENY, then nobody asks": [
        rbac(stat_prefix="no", rules=rules("DENY", p=policy())),
        rbac(stat_prefix="yes", rules=rules(p=policy()), shadow_rules=rules(p=policy()))],
    "a path that a connection has not": [
        rbac(rules=rules(p=policy({"url_path": {"path": {"prefix": "/"}}})))],
    "source_ip": [rbac(rules=rules(p=policy(principal={"source_ip": HERE})))],
    "direct_remote_ip": [rbac(rules=rules(p=policy(principal={"direct_remote_ip": HERE})))],
    "remote_ip elsewhere": [rbac(rules=rules(p=policy(principal={"remote_ip": THERE})))],
    "destination_ip": [rbac(rules=rules(p=policy({"destination_ip": HERE})))],
    "destination_port of another": [rbac(rules=rules(p=policy({"destination_port": 1})))],
    "destination_port_range": [
        rbac(rules=rules(p=policy({"destination_port_range": {"start": 1, "end": 65536}})))],
    "and, or, not": [rbac(rules=rules(p=policy(
        {"and_rules": {"rules": [{"destination_ip": HERE}, {"or_rules": {"rules": [
            {"destination_port": 1}, {"not_rule": {"destination_ip": THERE}}]}}]}},
        {"and_ids": {"ids": [{"remote_ip": HERE}, {"or_ids": {"ids": [
            {"authenticated": {}}, {"not_id": {"remote_ip": THERE}}]}}]}})))],
    "a plain client is not authenticated": [
        rbac(rules=rules(p=policy(principal={"authenticated": {}})))],
    "no server's name": [
        rbac(rules=rules(p=policy({"requested_server_name": {"safe_regex": {"regex": ".*"}}})))],
    "another server's name": [
        rbac(rules=rules(p=policy({"requested_server_name": {"exact": "a"}})))],
    "what the filter before has noted": [
        rbac(shadow_rules=rules("DENY", s=policy())),
        rbac(rules=rules(p=policy({"metadata": NOTED})))],
    "what its own shadow has noted": [
        rbac(shadow_rules=rules("DENY", s=policy()),
             rules=rules("DENY", p=policy({"sourced_metadata": {"metadata_matcher": NOTED}})))],
    "the hint of the filter before": [
        rbac(rules=rules("LOG", s=policy())), rbac(rules=rules(p=policy({"metadata": HINTED})))],
    "asked again": [rbac(rules=rules(p=policy()), shadow_rules=rules(s=policy()),
                         enforcement_type="CONTINUOUS")],
    "denied the first time it is asked": [
        rbac(rules=rules("DENY", p=policy()), enforcement_type="CONTINUOUS")],
}


def tcp_end(filters, port, log, extra):
    """Bytes to an upstream."""
    return listener(port, *filters, tcp(access_log=logs(log, "proxy")),
                    access_log=logs(log, "listener"), **extra)


def echo_end(filters, port, log, extra):
    """Bytes back."""
    return listener(port, *filters, filter_of("echo", "Echo"), access_log=logs(log, "listener"),
                    **extra)


def http_end(filters, port, log, extra):
    """Requests."""
    config = http_listener("main", port, routes=[
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}}])
    config["filter_chains"][0]["filters"][:0] = filters
    return {**config, "access_log": logs(log, "listener"), **extra}


ENDS = {"tcp_proxy": tcp_end, "echo": echo_end, "http": http_end}


def talk(port, end, pieces, wrap=lambda sock: sock):
    """What a client hears that says these pieces, each when the one before has arrived."""
    heard = []
    try:
        with wrap(connect(port)) as client:
            client.settimeout(5)
            for piece in pieces:
                client.sendall(piece)
                if end == "echo":
                    heard.append(client.recv(100))
                    if not heard[-1]:
                        return heard
            if end != "http":
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
            heard.append(b"".join(iter(lambda: client.recv(10000), b""))[:12])
    except OSError as problem:
        heard.append(type(problem).__name__)
    return heard


def told_by(kind, directory, filters, end, talks, context=None, filters_first=()):
    """What clients hear, what is logged and what is counted."""
    port, log = free_port(), directory / f"{kind}.log"
    extra = {"listener_filters": list(filters_first)} if filters_first else {}
    config = ENDS[end](filters, port, log, extra)
    if context:
        config["filter_chains"][0]["transport_socket"] = context
    with Server(receive_all) as upstream, Proxy(kind) as proxy:
        proxy.start(bootstrap([config], [cluster("up", upstream.port)], free_port()))
        heard = [one(port) for one in talks]
        proxy.wait_stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy", len(talks))
        lines = len(talks) * (2 if end == "tcp_proxy" else 1)
        until(lambda: log.exists() and log.read_text().count("\n") == lines, what="the log")
        stats = sorted((key.replace(str(port), "PORT"), value)
                       for key, value in proxy.stats().items() if STATS.match(key) and value)
        text = log.read_text().replace(str(upstream.port), "UP")
        if end == "http":
            # How much an answer is depends on who answers, and who waits with closing.
            text = re.sub(r"(listener \S+ \S+ \d+) \d+ \S+", r"\1", text)
        return heard, sorted(text.splitlines()), stats


def assert_same(proxy_kind, directory, *what, **more):
    """Both proxies tell the same."""
    ours, theirs = (told_by(kind, directory, *what, **more) for kind in (proxy_kind, "envoy"))
    for one, other in zip(ours, theirs):
        assert one == other
    return ours


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_as_envoy(proxy_kind, tmp_path, name, end):
    """Two connections, one after the other."""
    if name == "asked again" and end == "tcp_proxy":
        pytest.skip("whether the end comes with the last bytes or by itself is chance")
    pieces = [REQUEST] if end == "http" else [b"hello", b"again"] if end == "echo" else [b"hello"]
    assert_same(proxy_kind, tmp_path, SCENARIOS[name], end, [
        lambda port: talk(port, end, pieces)] * 2)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_a_client_that_says_nothing(proxy_kind, tmp_path, action, end):
    """It connects and leaves: where one side may end alone, that is a word too."""
    def leave(port):
        with connect(port) as client:
            client.shutdown(socket.SHUT_WR)
            client.settimeout(5)
            with contextlib.suppress(OSError):
                while client.recv(100):
                    pass

    assert_same(proxy_kind, tmp_path, [rbac(rules=rules(action, p=policy()))], end, [leave])


NAMES = {
    "a URI": {"exact": "spiffe://mesh/ns/a/sa/x"},
    "a URI's end": {"suffix": "/sa/x"},
    "a pattern": {"safe_regex": {"regex": "spiffe://.*/ns/a/.*"}},
    "a DNS name": {"exact": "x.example"},
    "a subject": {"contains": "CN=y"},
    "anybody": None,
}


@pytest.mark.parametrize("end", ["tcp_proxy", "http"])
@pytest.mark.parametrize("name", NAMES)
def test_who_a_certificate_says(proxy_kind, tmp_path, name, end):
    """Clients with names, without, and without a certificate."""
    authority = Authority(tmp_path)
    server = authority.issue("server", "DNS:server.example")
    identities = [authority.issue("x", "URI:spiffe://mesh/ns/a/sa/x,DNS:x.example"),
                  authority.issue("y"), None]

    def wrapping(identity):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.certificate)
        context.check_hostname = False
        if identity:
            context.load_cert_chain(identity.certificate, identity.key)
        return lambda sock: context.wrap_socket(sock, server_hostname="server.example")

    authenticated = {"principal_name": NAMES[name]} if NAMES[name] else {}
    guard = rbac(rules=rules(p=policy(principal={"authenticated": authenticated})))
    talks = [
        lambda port, wrap=wrapping(one): talk(port, "http", [REQUEST], wrap) for one in identities]
    if end == "tcp_proxy":
        talks = [
            lambda port, wrap=wrapping(one): spoken(port, wrap) for one in identities]
    ours = told_by(proxy_kind, tmp_path, [guard], end, talks, context=downstream_tls(
        common_tls_context=server.common(validation_context=authority.trust)))
    theirs = told_by("envoy", tmp_path, [guard], end, talks, context=downstream_tls(
        common_tls_context=server.common(validation_context=authority.trust)))
    # How many bytes TLS has taken is not the matter here.
    assert ours[0] == theirs[0] and ours[2] == theirs[2]


def spoken(port, wrap):
    """Whether the other side lets the client go on."""
    try:
        with wrap(connect(port)) as client:
            client.settimeout(0.5)
            client.sendall(b"hello")
            try:
                return client.recv(10)
            except TimeoutError:
                return "open"
    except OSError as problem:
        return type(problem).__name__


def test_continuous_rules_are_asked_whenever_the_client_speaks(proxy_kind, tmp_path):
    """As often as pieces arrive, and shadow rules with them."""
    ours = assert_same(proxy_kind, tmp_path, [rbac(
        rules=rules(p=policy()), shadow_rules=rules("DENY", s=policy()),
        enforcement_type="CONTINUOUS")], "echo", [
            lambda port: talk(port, "echo", [b"one", b"two", b"three"])])
    assert ("guard.rbac.allowed", 3) in ours[2]


def test_a_delayed_refusal_keeps_the_connection_for_a_while(proxy_kind):
    """Neither closed at once nor read."""
    port = free_port()
    with Server(receive_all) as upstream, Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listener(port, rbac(rules=rules("DENY", p=policy()), delay_deny="0.5s"), tcp())],
            [cluster("up", upstream.port)], free_port()))
        with connect(port) as client:
            client.sendall(b"hello")
            proxy.wait_stat("guard.rbac.denied", 1)
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(5)
            with contextlib.suppress(OSError):
                assert client.recv(1) == b""


@pytest.mark.parametrize("config,part", [
    ({"rules": rules(p=policy({"header": {"name": "x", "present_match": True}}))}, "header"),
    ({"rules": rules(p=policy(principal={"not_id": {
        "header": {"name": "x", "present_match": True}}}))}, "header"),
    ({"rules": rules(p={"permissions": [], "principals": [ANY]})}, "permissions"),
    ({"rules": rules(p={"permissions": [{}], "principals": [ANY]})}, "permissions"),
    ({"rules": rules(p=policy({"destination_port": 70000}))}, "destination_port"),
    ({"rules": rules(p=policy({"destination_port_range": {"start": 5, "end": 5}}))},
     "destination_port_range"),
    ({"rules": rules(p=policy(principal={"remote_ip": {"address_prefix": "x"}}))},
     "address_prefix"),
    ({"rules": rules(p=policy()), "stat_prefix": ""}, "stat_prefix"),
])
def test_refused(proxy_kind, config, part):
    """What Envoy refuses, with the place."""
    code, output = Proxy(proxy_kind).validate(
        bootstrap([listener(free_port(), rbac(**config), tcp())], [cluster("up", 1)]))
    assert code != 0, output
    if proxy_kind == "fairlead":
        assert part in output, output


@pytest.mark.parametrize("config,part", [
    ({"matcher": {}}, "matcher"), ({"shadow_matcher": {}}, "shadow_matcher"),
    ({"rules": {"audit_logging_options": {}}}, "audit_logging_options"),
    ({"rules": rules(p={**policy(), "condition": {}})}, "condition"),
    ({"rules": rules(p={**policy(), "checked_condition": {}})}, "checked_condition"),
    ({"rules": rules(p=policy({"matcher": {"name": "x"}}))}, "matcher"),
    ({"rules": rules(p=policy({"uri_template": {"name": "x"}}))}, "uri_template"),
    ({"rules": rules(p=policy(principal={"filter_state": {"key": "x"}}))}, "filter_state"),
    ({"rules": rules(p=policy(principal={"custom": {"name": "x"}}))}, "custom"),
    ({"rules": rules(p=policy({"sourced_metadata": {
        "metadata_matcher": NOTED, "metadata_source": "ROUTE"}}))}, "ROUTE"),
])
def test_what_is_not_supported_is_refused_by_name(config, part):
    """Nothing is ignored in silence."""
    code, output = Proxy("fairlead").validate(
        bootstrap([listener(free_port(), rbac(**config), tcp())], [cluster("up", 1)]))
    assert code != 0 and part in output and "not supported" in output, output
