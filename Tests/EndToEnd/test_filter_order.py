"""The order of filters is the user's: what stands behind Retry belongs to the attempt.

Fairlead only: in Envoy retries and timeouts live in the router and have no place of their own.
"""

import pytest

from harness.client import fetch
from harness.discovery import says
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply, sequence

RETRY = {"name": "fairlead.filters.http.retry", "typed_config": {
    "@type": "type.googleapis.com/fairlead.filters.http.retry.v1.Retry"}}
TIMEOUT = {"name": "fairlead.filters.http.timeout", "typed_config": {
    "@type": "type.googleapis.com/fairlead.filters.http.timeout.v1.Timeout"}}
_EXTENSION = "type.googleapis.com/envoy.extensions.filters.http"
ALWAYS = {"numerator": 100, "denominator": "HUNDRED"}
ABORT = {"name": "envoy.filters.http.fault", "typed_config": {
    "@type": f"{_EXTENSION}.fault.v3.HTTPFault",
    "abort": {"http_status": 503, "percentage": ALWAYS}}}
DELAY = {"name": "envoy.filters.http.fault", "typed_config": {
    "@type": f"{_EXTENSION}.fault.v3.HTTPFault",
    "delay": {"fixed_delay": "0.6s", "percentage": ALWAYS}}}
MARK = {"name": "envoy.filters.http.header_mutation", "typed_config": {
    "@type": f"{_EXTENSION}.header_mutation.v3.HeaderMutation",
    "mutations": {"request_mutations": [
        {"append": {"header": {"key": "x-mark", "value": "1"}}}]}}}
ONE_TOKEN = {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
    "@type": f"{_EXTENSION}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limit",
    "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
    "filter_enabled": {"default_value": ALWAYS}, "filter_enforced": {"default_value": ALWAYS}}}
ROUTES = [{"match": {"prefix": "/"}, "route": {
    "cluster": "up", "timeout": "0.3s", "retry_policy": {"retry_on": "5xx", "num_retries": 2}}}]


@pytest.fixture
def ask(proxy_kind):
    """Starts a proxy with a chain and sends one request; returns (response, proxy, upstream)."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    open_ = []

    def run(filters, behaviour=None):
        upstream, port = Upstream(behaviour), free_port()
        proxy = Proxy("fairlead").start(bootstrap(
            [listener("main", port, ROUTES, filters)], [cluster("up", upstream.port)],
            free_port()))
        open_.extend([proxy, upstream])
        return fetch(port), proxy, upstream

    yield run
    for one in open_:
        one.stop()


@pytest.mark.parametrize("chain,aborts", [
    ([ABORT], 1), ([ABORT, RETRY], 1), ([RETRY, ABORT], 3), ([ABORT, TIMEOUT, RETRY], 1),
    ([TIMEOUT, RETRY, ABORT], 3)])
def test_a_fault_behind_retry_is_tried_again(ask, chain, aborts):
    """A fault before Retry is final; behind it, each attempt meets it."""
    response, proxy, upstream = ask(chain)
    assert response.status == 503 and not upstream.requests
    assert proxy.stat("http.main.fault.aborts_injected") == aborts


@pytest.mark.parametrize("chain", [[MARK], [MARK, RETRY], [RETRY, MARK]])
def test_each_attempt_starts_from_the_same_head(ask, chain):
    """A header that is added behind Retry is there once in every attempt."""
    response, _, upstream = ask(chain, sequence(reply(503), reply(503), reply()))
    assert response.status == 200
    assert [r.values("x-mark") for r in upstream.requests] == [["1"]] * 3


def test_filters_of_an_attempt_are_fresh(ask):
    """A rate limit behind Retry counts attempts; before it, requests."""
    behaviour = sequence(reply(503), reply())
    assert ask([ONE_TOKEN, RETRY], behaviour)[0].status == 200
    assert ask([RETRY, ONE_TOKEN], behaviour)[0].status == 429


@pytest.mark.parametrize("chain,status", [
    ([DELAY, TIMEOUT], 200), ([TIMEOUT, DELAY], 504), ([DELAY], 200)])
def test_a_delay_behind_timeout_counts(ask, chain, status):
    """Timeout bounds what stands behind it."""
    assert ask(chain)[0].status == status


def test_more_filters_than_fit_are_refused():
    """What they keep for a request has to fit into one block: at the start, and not at the first request."""
    filters = [{"name": f"f{number}", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 10}} for number in range(6000)]
    document = bootstrap([listener("main", free_port(), [says("x")], filters)], [], None)
    code, output = Proxy("fairlead").validate(document)
    assert code != 0 and "http_filters: the filters keep" in output, output[-1000:]
