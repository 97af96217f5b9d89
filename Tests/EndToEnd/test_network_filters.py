"""Filters in front of a chain's last one: `connection_limit` and the network `local_ratelimit`, alone
and in either order, compared with the real Envoy.
"""

import contextlib
import re
import socket

import pytest

from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster
from harness.simple import listener as http_listener
from harness.waiting import until
from test_tcp import Server, connect, filter_of, listener, receive_all, tcp

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LINE = ("%RESPONSE_FLAGS% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% "
        "%DOWNSTREAM_LOCAL_CLOSE_REASON% %DOWNSTREAM_DETECTED_CLOSE_TYPE% %FILTER_CHAIN_NAME%\n")
SLOW = {"max_tokens": 2, "fill_interval": "600s"}


def limit(prefix="cl", most=1, **config):
    """A `connection_limit`."""
    return filter_of("connection_limit", "ConnectionLimit", stat_prefix=prefix,
                     max_connections=most, **config)


def rate(prefix="rl", **config):
    """A `local_ratelimit`."""
    return filter_of("local_ratelimit", "LocalRateLimit", stat_prefix=prefix,
                     **{"token_bucket": SLOW, **config})


def flag(default, key="nobody.says"):
    """A runtime feature flag."""
    return {"default_value": default, "runtime_key": key}


def logs(path, mark):
    """An access log to a file, each line with a mark."""
    return [{"name": "file", "typed_config": {
        "@type": _FILE_LOG, "path": str(path),
        "log_format": {"text_format_source": {"inline_string": mark + " " + LINE}}}}]


SCENARIOS = {
    "a rate": [rate()],
    "a rate that is off": [rate(runtime_enabled=flag(False))],
    "a rate that the runtime puts off": [rate(runtime_enabled=flag(True, "off"))],
    "a rate that the runtime puts on": [rate(runtime_enabled=flag(False, "on"))],
    "a limit": [limit()],
    "a limit with a delay": [limit(delay="0.05s")],
    "a limit that is off": [limit(runtime_enabled=flag(False))],
    "a limit before a rate": [limit(), rate()],
    "two rates": [rate(), rate("other", token_bucket={**SLOW, "max_tokens": 1})],
    "rates with one bucket": [rate(share_key="k"), rate("other", share_key="k")],
    "rates with one key and two buckets": [
        rate(share_key="k"), rate("other", share_key="k", token_bucket={**SLOW, "max_tokens": 1})],
}
STATS = re.compile(r"^(tcp\.tcp\.downstream_cx_(total|no_route)|local_rate_limit|connection_limit"
                   r"|cluster\.up\.upstream_cx_(total|destroy)$|listener\.[0-9._]+downstream_cx"
                   r"_(total|destroy)$|http\.main\.downstream_cx_(total|destroy)$)")
ENDS = {
    "tcp_proxy": lambda path: tcp(access_log=logs(path, "proxy")),
    "echo": lambda _: filter_of("echo", "Echo"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_as_envoy(proxy_kind, tmp_path, name, end):
    """Five connections, one after the other and held: who gets in, what is counted and logged."""
    told = {}
    runtime = {"layers": [{"name": "static", "static_layer": {"off": False, "on": True}}]}
    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), tmp_path / f"{kind}.log"
        with Server(receive_all) as upstream, Proxy(kind) as proxy, contextlib.ExitStack() as held:
            proxy.start(bootstrap(
                [listener(port, *SCENARIOS[name], ENDS[end](log),
                          access_log=logs(log, "listener"))],
                [cluster("up", upstream.port)], free_port(), layered_runtime=runtime))
            outcomes = []
            for number in range(5):
                client = held.enter_context(connect(port))
                # Whoever is let in is held; an open connection says nothing.
                until(lambda: proxy.stat(f"listener.127.0.0.1_{port}.downstream_cx_total")
                      == number + 1, what="the connection to reach its chain")
                client.settimeout(0.15)
                try:
                    outcomes.append(client.recv(1))
                except socket.timeout:
                    outcomes.append("open")
            held.close()
            proxy.wait_stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy", 5)
            lines = 5 * (2 if end == "tcp_proxy" else 1)
            until(lambda: log.exists() and log.read_text().count("\n") == lines, what="the log")
            told[kind] = (
                outcomes, sorted(log.read_text().replace(str(upstream.port), "PORT").splitlines()),
                sorted((key.replace(str(port), "PORT"), value)
                       for key, value in proxy.stats().items() if STATS.match(key) and value))
    for ours, theirs in zip(told[proxy_kind], told["envoy"]):
        assert ours == theirs


def test_a_refused_connection_counts_once_and_is_given_back_once(proxy_kind):
    """A rate in front of a limit: what the second has not admitted, it does not release."""
    port = free_port()
    bucket = {"max_tokens": 1, "fill_interval": "600s"}
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listener(port, rate(token_bucket=bucket), limit(most=2), filter_of("echo", "Echo"))],
            [], free_port()))
        with connect(port) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"x"
            with connect(port) as refused:
                assert refused.recv(1) == b""
            assert proxy.stat("connection_limit.cl.active_connections") == 1
        until(lambda: proxy.stat("connection_limit.cl.active_connections") == 0)


def test_tokens_come_back_evenly(proxy_kind):
    """A bucket of one that is filled with ten in a second: nobody waits for the second's end."""
    port = free_port()
    bucket = {"max_tokens": 1, "tokens_per_fill": 10, "fill_interval": "1s"}
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [listener(port, rate(token_bucket=bucket), filter_of("echo", "Echo"))], [],
            free_port()))

        def enters():
            with connect(port) as client:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")
                    return client.recv(1) == b"x"
            return False

        assert enters()
        until(enters, 0.9, "a token")


def test_an_http_chain_has_filters_in_front_too(proxy_kind, tmp_path):
    """A refused connection never reaches the connection manager."""
    port, log = free_port(), tmp_path / "log"
    config = http_listener("main", port, routes=[
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}}])
    config["filter_chains"][0]["filters"].insert(0, rate(token_bucket={**SLOW, "max_tokens": 1}))
    config["access_log"] = logs(log, "listener")
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap([config], [], free_port()))
        for answer in (b"HTTP/1.1 200 OK\r\n", b""):
            with connect(port) as client:
                with contextlib.suppress(OSError):
                    client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                    assert client.makefile("rb").readline() == answer
        until(lambda: log.exists() and "URX" in log.read_text(), what="the log line")
        assert proxy.stat("local_rate_limit.rl.rate_limited") == 1


@pytest.mark.parametrize("config,part", [
    ({"token_bucket": {"max_tokens": 0, "fill_interval": "1s"}}, "max_tokens"),
    ({"token_bucket": {"max_tokens": 1, "fill_interval": "0.01s"}}, "fill_interval"),
    ({"token_bucket": {"max_tokens": 1, "fill_interval": "1s", "tokens_per_fill": 0}},
     "tokens_per_fill"),
    ({"token_bucket": None}, "token_bucket"),
])
def test_refused(proxy_kind, config, part):
    """What Envoy refuses, with the place."""
    one = rate(**config)
    one["typed_config"] = {key: value for key, value in one["typed_config"].items() if value}
    code, output = Proxy(proxy_kind).validate(
        bootstrap([listener(free_port(), one, tcp())], [cluster("up", 1)]))
    assert code != 0, output
    if proxy_kind == "fairlead":
        assert part in output, output
