"""Circuit breakers: all four thresholds, each overflow with its flag, header and counter."""

from harness.client import request_bytes
from harness.upstream import reply

from ..model import case, get, to


def _limited(**threshold):
    return {"up": {"circuit_breakers": {"thresholds": [threshold]}}}


def _held(run):
    """One request that the upstream holds, then one more; then the first is let go."""
    with run.connect() as first:
        first.send(request_bytes(target="/first"))
        run.upstreams["up"].wait_requests(1)
        run.send(get("/second"))
        gauges = run.proxy.stats(f"{run.case.tag}_up.circuit_breakers")
        for name, value in sorted(gauges.items()):
            run.note(name, value)
        first.reset()
    run.upstreams["up"].wait_ended(0)
    run.proxy.wait_stat(f"cluster.{run.case.tag}_up.upstream_rq_active", 0)


case("max_requests refuses one more than its number",
     scenario=_held, clusters=_limited(max_requests=1),
     upstreams={"up": lambda e: e.stall() if e.index == 0 else reply()(e)},
     expect_log={"flags": "DC"})
case("max_requests lets its number pass",
     scenario=_held, clusters=_limited(max_requests=2),
     upstreams={"up": lambda e: e.stall() if e.index == 0 else reply()(e)})
case("track_remaining tells what is left",
     scenario=_held, clusters=_limited(max_requests=2, track_remaining=True, max_connections=5,
                                       max_pending_requests=6, max_retries=7),
     upstreams={"up": lambda e: e.stall() if e.index == 0 else reply()(e)})
case("max_connections makes the second request wait and max_pending_requests refuses the third",
     clusters=_limited(max_connections=1, max_pending_requests=1),
     scenario=lambda run: _queued(run), upstreams={"up": lambda e: e.stall()})


def _queued(run):
    stat = f"cluster.{run.case.tag}_up.upstream_rq_pending_active"
    with run.connect() as first, run.connect() as second:
        first.send(request_bytes(target="/first"))
        run.upstreams["up"].wait_requests(1)
        second.send(request_bytes(target="/second"))
        run.proxy.wait_stat(stat, 1)
        run.send(get("/third"))
        for name, value in sorted(run.proxy.stats(f"{run.case.tag}_up.circuit_breakers").items()):
            run.note(name, value)
        first.reset()
        run.upstreams["up"].wait_requests(2)
        second.reset()
        run.upstreams["up"].wait_ended(1)


case("a waiting request gets the connection that comes free",
     clusters=_limited(max_connections=1), scenario=lambda run: _handed_on(run),
     upstreams={"up": lambda e: [e.upstream.go.wait(5), reply(body=e.request.target.encode())(e)]})


def _handed_on(run):
    import threading
    upstream = run.upstreams["up"]
    upstream.go = threading.Event()
    with run.connect() as first, run.connect() as second:
        first.send(request_bytes(target="/first"))
        upstream.wait_requests(1)
        second.send(request_bytes(target="/second"))
        run.proxy.wait_stat(f"cluster.{run.case.tag}_up.upstream_rq_pending_active", 1)
        upstream.go.set()
        run.record(first)
        run.record(second)


case("max_connections of zero still lets one connection through",
     get(), clusters=_limited(max_connections=0))
case("max_pending_requests of zero refuses what has no connection yet",
     get(expect=503), clusters=_limited(max_pending_requests=0), expect_log={"flags": "UO"})
case("max_requests of zero refuses everything",
     get(expect=503), clusters=_limited(max_requests=0), expect_log={"flags": "UO"})
case("a retry is counted by its own breaker",
     get(expect=503), clusters=_limited(max_retries=0),
     routes=[to("up", retry_policy={"retry_on": "5xx"})], upstreams={"up": reply(503)})
case("a route of high priority has breakers of its own",
     get(expect=200), routes=[to("up", priority="HIGH")],
     clusters={"up": {"circuit_breakers": {"thresholds": [
         {"priority": "DEFAULT", "max_requests": 0}, {"priority": "HIGH", "max_requests": 5}]}}})
case("the breaker of high priority refuses too",
     get(expect=503), routes=[to("up", priority="HIGH")],
     clusters=_limited(priority="HIGH", max_requests=0),
     expect_log={"flags": "UO"})
case("runtime can move a threshold",
     get(expect=503), clusters={"up": {}},
     runtime={"circuit_breakers.@@up.default.max_requests": 0},
     expect_log={"flags": "UO"})
case("an overflow is repeated by nobody",
     get(expect=503), clusters=_limited(max_requests=0),
     routes=[to("up", retry_policy={"retry_on": "5xx,reset,connect-failure", "num_retries": 3})])
