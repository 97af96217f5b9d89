"""Several workers: what Envoy counts for the process is counted for all of them together."""

import threading

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply, sequence, stall
from harness.waiting import until

WORKERS = 3
CLIENTS = 24
_EXTENSION = "type.googleapis.com/envoy.extensions.filters.http"
ALWAYS = {"numerator": 100, "denominator": "HUNDRED"}


@pytest.fixture
def start(proxy_kind):
    """Starts a proxy with several workers; returns (proxy, port, upstream)."""
    open_ = []

    def run(behaviour=None, routes=None, filters=(), **extra):
        upstream, port = Upstream(behaviour), free_port()
        proxy = Proxy(proxy_kind).start(bootstrap(
            [listener("main", port, routes, filters)],
            [cluster("up", upstream.port, **extra)], free_port()),
            ("--concurrency", str(WORKERS)))
        open_.extend([proxy, upstream])
        return proxy, port, upstream

    yield run
    for one in open_:
        one.stop()


def breakers(**thresholds):
    """A cluster's thresholds."""
    return {"circuit_breakers": {"thresholds": [thresholds]}}


def many(port, count=CLIENTS):
    """So many connections that every worker has some, a request on each."""
    connections = [Connection(port) for _ in range(count)]
    for connection in connections:
        connection.send(request_bytes())
    return connections


@pytest.mark.parametrize("limit", [1, 5])
def test_max_requests_holds_for_all_workers(start, limit):
    """So many reach the upstream at a time, whichever workers they are on."""
    go = threading.Event()
    proxy, port, upstream = start(
        lambda e: [go.wait(10), reply()(e)], **breakers(max_requests=limit))
    connections = many(port)
    proxy.wait_stat("cluster.up.upstream_rq_active_overflow", CLIENTS - limit)
    upstream.wait_requests(limit)
    go.set()
    responses = [connection.read_response() for connection in connections]
    refused = [r for r in responses if r.status == 503]
    assert len(refused) == CLIENTS - limit
    assert all(r.value("x-envoy-overloaded") == "true" for r in refused)
    assert len(upstream.requests) == limit
    # What was taken has been given back: the same number fits again.
    go.clear()
    again = many(port)
    proxy.wait_stat("cluster.up.upstream_rq_active_overflow", 2 * (CLIENTS - limit))
    go.set()
    assert sorted(c.read_response().status for c in again)[:limit] == [200] * limit
    for connection in connections + again:
        connection.close()


def test_max_pending_requests_holds_for_all_workers(start):
    """So many wait, whichever workers they are on. Each worker may open one connection beyond the
    limit of connections, or it could never serve anybody."""
    waiting = 4
    proxy, port, _ = start(stall(), **breakers(max_connections=1, max_pending_requests=waiting))
    connections = many(port)
    names = ("rq_active", "rq_pending_active", "rq_pending_overflow")
    served = until(lambda: (seen := [proxy.stat(f"cluster.up.upstream_{n}") for n in names])
                   and sum(seen) == CLIENTS and seen, 5, "every request's fate")
    active, pending, refused = served
    assert 1 <= active <= WORKERS and 1 <= pending <= waiting, served
    assert refused >= CLIENTS - waiting - WORKERS
    assert proxy.stat("cluster.up.upstream_cx_active") == active
    for connection in connections:
        connection.reset()


def test_max_retries_holds_for_all_workers(start):
    """All ask for a retry at the same time; one is let through."""
    gate = threading.Barrier(CLIENTS)

    def first_fails(exchange):
        if exchange.index < CLIENTS:
            gate.wait(10)
            reply(503)(exchange)
        else:
            exchange.wait(0.5)
            reply()(exchange)

    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up", "retry_policy": {
        "retry_on": "5xx", "retry_back_off": {"base_interval": "0.001s"}}}}]
    proxy, port, _ = start(first_fails, routes, **breakers(max_retries=1))
    connections = many(port)
    statuses = [connection.read_response().status for connection in connections]
    for connection in connections:
        connection.close()
    overflows = proxy.stat("cluster.up.upstream_rq_retry_overflow")
    retried = proxy.stat("cluster.up.upstream_rq_retry")
    # Whoever comes when the first retry is over may have its own.
    assert statuses.count(200) == retried == CLIENTS - overflows and retried <= 2, statuses


def test_a_local_rate_limit_is_one_bucket_for_all_workers(start):
    """Five tokens are five requests."""
    limit = {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
        "@type": f"{_EXTENSION}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limit",
        "token_bucket": {"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "3600s"},
        "filter_enabled": {"default_value": ALWAYS}, "filter_enforced": {"default_value": ALWAYS}}}
    proxy, port, _ = start(filters=[limit])
    statuses = [fetch(port).status for _ in range(CLIENTS)]
    assert statuses.count(200) == 5 and statuses.count(429) == CLIENTS - 5
    assert proxy.stat("limit.http_local_rate_limit.rate_limited") == CLIENTS - 5


def test_max_active_faults_holds_for_all_workers(start):
    """Once two are delayed, no worker delays another. Those that look at the same time may both."""
    fault = {"name": "envoy.filters.http.fault", "typed_config": {
        "@type": f"{_EXTENSION}.fault.v3.HTTPFault", "max_active_faults": 2,
        "delay": {"fixed_delay": "30s", "percentage": ALWAYS}}}
    proxy, port, upstream = start(filters=[fault])
    connections = many(port, 2)
    proxy.wait_stat("http.main.fault.active_faults", 2)
    connections += many(port)
    upstream.wait_requests(CLIENTS)
    proxy.wait_stat("http.main.fault.faults_overflow", CLIENTS)
    assert proxy.stat("http.main.fault.active_faults") == 2
    for connection in connections:
        connection.reset()


def test_statistics_of_all_workers_add_up(start):
    """Counters, gauges and histograms."""
    proxy, port, _ = start(sequence(reply(200), reply(404), reply(503), reply(200)))
    connections = many(port)
    for connection in connections:
        connection.read_response()
    assert proxy.stat("http.main.downstream_cx_active") == CLIENTS
    proxy.wait_stat("http.main.downstream_rq_completed", CLIENTS)
    by_class = [proxy.stat(f"http.main.downstream_rq_{n}xx") for n in (2, 4, 5)]
    assert by_class == [CLIENTS - 2, 1, 1]
    text = proxy.admin("/stats/prometheus?filter=http.main.downstream_rq_time").body.decode()
    assert f"envoy_http_downstream_rq_time_count{{envoy_http_conn_manager_prefix=\"main\"}} {CLIENTS}" in text
    for connection in connections:
        connection.close()
