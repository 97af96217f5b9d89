"""Every clock that can end a request."""

import time

from harness.client import request_bytes
from harness.upstream import after, raw, reply, stall

from ..model import case, get, http_options, path, to

HALF_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234"

case("the route timeout answers 504",
     get(expect=504), routes=[to("up", timeout="0.2s")], upstreams={"up": stall()},
     expect_log={"flags": "UT", "details": "response_timeout"},
     expect_stats={"cluster.@up.upstream_rq_timeout": 1})
case("a route timeout of zero never comes",
     get(), routes=[to("up", timeout="0s")], upstreams={"up": after(0.3, reply())})
case("an answer before the route timeout is untouched",
     get(), routes=[to("up", timeout="5s")], upstreams={"up": after(0.1, reply())})
case("the route timeout after the answer has begun cuts it off",
     get(expect=None), routes=[to("up", timeout="0.3s")],
     upstreams={"up": raw(HALF_ANSWER, then="stall")},
     expect_log={"flags": "UT"})
case("the route timeout counts from the end of the request",
     routes=[to("up", timeout="0.4s")],
     scenario=lambda run: _slow_body(run, 0.6))


def _slow_body(run, seconds):
    """A POST whose body takes a while."""
    with run.connect() as connection:
        connection.send(request_bytes("POST", "/", {"content-length": "4"}) + b"da")
        run.upstreams["up"].wait_requests(1)
        time.sleep(seconds)  # how slow the client is
        connection.send(b"ta")
        run.record(connection, "POST")


case("a route's idle timeout answers 504",
     get(expect=504), routes=[to("up", idle_timeout="0.2s")], upstreams={"up": stall()},
     expect_log={"flags": "SI"})
case("a route's idle timeout ends a request whose body stalls",
     routes=[to("up", idle_timeout="0.3s")],
     scenario=lambda run: _stalled_body(run))
case("a route's idle timeout ends an answer that stalls",
     get(expect=None), routes=[to("up", idle_timeout="0.3s")],
     upstreams={"up": raw(HALF_ANSWER, then="stall")})
case("an idle timeout starts anew with each piece",
     get(), routes=[to("up", idle_timeout="0.5s")],
     upstreams={"up": lambda e: [
         e.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
         *[(e.wait(0.2), e.send(b"x")) for _ in range(4)]]})


def _stalled_body(run, data=b"da"):
    with run.connect() as connection:
        connection.send(request_bytes("POST", "/", {"content-length": "4"}) + data)
        run.record(connection, "POST")
        run.note("the connection ended", connection.ends_within(3))


case("stream_idle_timeout answers 504 while the upstream is silent",
     get(expect=504), hcm={"stream_idle_timeout": "0.2s"}, upstreams={"up": stall()},
     expect_log={"flags": "SI", "details": "stream_idle_timeout"})
case("stream_idle_timeout answers 408 while the request is incomplete",
     scenario=_stalled_body, hcm={"stream_idle_timeout": "0.2s"}, upstreams={"up": stall()})
case("a route's idle timeout replaces the stream idle timeout",
     get(), hcm={"stream_idle_timeout": "0.2s"}, routes=[to("up", idle_timeout="5s")],
     upstreams={"up": after(0.5, reply())})
case("a route's idle timeout of zero turns the stream idle timeout off",
     get(), hcm={"stream_idle_timeout": "0.2s"}, routes=[to("up", idle_timeout="0s")],
     upstreams={"up": after(0.5, reply())})
case("request_timeout answers 408 when the request takes too long",
     scenario=_stalled_body, hcm={"request_timeout": "0.2s"},
     expect_log={"details": "request_overall_timeout"})
case("request_timeout does not count the answer",
     get(), hcm={"request_timeout": "0.2s"}, upstreams={"up": after(0.5, reply())})


def _stalled_head(run):
    with run.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: test.ex")
        run.record(connection)
        run.note("the connection ended", connection.ends_within(3))


case("request_headers_timeout answers 408 when the head takes too long",
     scenario=_stalled_head, hcm={"request_headers_timeout": "0.2s"},
     expect_log={"details": "request_header_timeout"})
case("max_stream_duration of the connection manager ends a silent answer",
     get(expect=504), hcm={"common_http_protocol_options": {"max_stream_duration": "0.2s"}},
     upstreams={"up": stall()}, expect_log={"details": "max_duration_timeout"})
case("max_stream_duration of the connection manager cuts an answer off",
     get(expect=None), hcm={"common_http_protocol_options": {"max_stream_duration": "0.3s"}},
     upstreams={"up": raw(HALF_ANSWER, then="stall")})
case("max_stream_duration of a route replaces the connection manager's",
     get(), hcm={"common_http_protocol_options": {"max_stream_duration": "0.2s"}},
     routes=[to("up", max_stream_duration={"max_stream_duration": "5s"})],
     upstreams={"up": after(0.5, reply())})
case("max_stream_duration of a route ends a silent answer",
     get(expect=504), routes=[to("up", max_stream_duration={"max_stream_duration": "0.2s"})],
     upstreams={"up": stall()})
case("max_stream_duration of a cluster ends its requests",
     get(expect=504), upstreams={"up": stall()}, clusters={"up": http_options(
         common_http_protocol_options={"max_stream_duration": "0.2s"})},
     expect_log={"flags": "UMSDR"})
case("grpc_timeout_header_max lets grpc-timeout bound the stream",
     get(headers={"grpc-timeout": "200m"}, expect=504),
     routes=[to("up", max_stream_duration={"grpc_timeout_header_max": "1s"})],
     upstreams={"up": stall()})
case("the idle timeout of a downstream connection closes it without a word",
     scenario=lambda run: _idle(run),
     hcm={"common_http_protocol_options": {"idle_timeout": "0.2s"}, "drain_timeout": "0.1s"})


def _idle(run):
    with run.connect() as connection:
        connection.send(request_bytes())
        run.record(connection)
        run.note("ended", connection.ends_within(3))


case("an idle downstream connection that never sent anything is closed",
     scenario=lambda run: run.note("ended", run.connect().ends_within(3)),
     hcm={"common_http_protocol_options": {"idle_timeout": "0.2s"}, "drain_timeout": "0.1s"})
case("max_connection_duration ends a downstream connection",
     scenario=_idle,
     hcm={"common_http_protocol_options": {"max_connection_duration": "0.3s"},
          "drain_timeout": "0.1s"})
case("max_requests_per_connection of the connection manager announces the close",
     get(on="a"), get(on="a"), get(on="a"),
     hcm={"common_http_protocol_options": {"max_requests_per_connection": 2}})
case("max_requests_per_connection of a cluster opens a new connection for each request",
     get(on="a"), get(on="a"), get(on="a"),
     clusters={"up": http_options(
         common_http_protocol_options={"max_requests_per_connection": 1})},
     expect_stats={"cluster.@up.upstream_cx_total": 3})
case("an upstream connection is used again",
     get(on="a"), get(on="b"), get(on="a"), expect_stats={"cluster.@up.upstream_cx_total": 1})


def _two_with_pause(run):
    run.send(get(on="a"))
    run.note("the upstream connection ended", run.upstreams["up"].wait_ended(0))
    run.send(get(on="a"))


case("the idle timeout of an upstream connection closes it",
     scenario=_two_with_pause,
     clusters={"up": http_options(common_http_protocol_options={"idle_timeout": "0.2s"})},
     expect_stats={"cluster.@up.upstream_cx_total": 2, "cluster.@up.upstream_cx_idle_timeout": 2})
case("connect_timeout answers 503",
     get(expect=503), clusters={"up": {"connect_timeout": "0.2s"}}, upstreams={"up": "blackhole"},
     expect_log={"flags": "UF"}, expect_stats={"cluster.@up.upstream_cx_connect_timeout": 1})
case("the route timeout may come before the connect timeout",
     get(expect=504), routes=[to("up", timeout="0.2s")],
     clusters={"up": {"connect_timeout": "5s"}}, upstreams={"up": "blackhole"},
     expect_log={"flags": "UT"})
case("a per-try timeout without retries answers 504",
     get(expect=504), routes=[to("up", retry_policy={"per_try_timeout": "0.2s"})],
     upstreams={"up": stall()}, expect_log={"flags": "UT", "details": "upstream_per_try_timeout"})
case("a per-try timeout with retries is tried again",
     get(expect=504),
     routes=[to("up", retry_policy={"retry_on": "5xx", "per_try_timeout": "0.2s",
                                    "num_retries": 1})],
     upstreams={"up": stall()},
     expect_log={"flags": "URX,UT", "details": "upstream_per_try_timeout", "attempts": "2"})
case("a per-try idle timeout ends a silent try",
     get(expect=504), routes=[to("up", retry_policy={"per_try_idle_timeout": "0.2s"})],
     upstreams={"up": stall()})
case("a per-try idle timeout after the answer has begun cuts it off",
     get(expect=None), routes=[to("up", retry_policy={"per_try_idle_timeout": "0.3s"})],
     upstreams={"up": raw(HALF_ANSWER, then="stall")})
case("the upstream is told how long it has",
     get("/a"), get("/b"), get("/c"), get("/d"),
     routes=[to("up", path("/a"), timeout="3s"), to("up", path("/b"), timeout="0s"),
             to("up", path("/c"), timeout="3s", retry_policy={"per_try_timeout": "1s"}),
             to("up", path("/d"))])
case("delayed_close_timeout waits for the client after an error",
     scenario=lambda run: _lingers(run), hcm={"delayed_close_timeout": "0.5s"})
case("a delayed_close_timeout of zero closes at once",
     scenario=lambda run: _lingers(run), hcm={"delayed_close_timeout": "0s"})


def _lingers(run):
    """After an answer with Connection: close the proxy ends the connection, sooner or later."""
    with run.connect() as connection:
        connection.send(request_bytes(headers={"connection": "close"}))
        run.record(connection)


case("a slow but steady answer outlives a short idle timeout",
     get(), hcm={"stream_idle_timeout": "0.4s"},
     upstreams={"up": lambda e: [
         e.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
         *[(e.wait(0.2), e.send(b"1\r\nx\r\n")) for _ in range(4)], e.send(b"0\r\n\r\n")]})
