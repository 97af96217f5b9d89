"""Limits and protocol options of the connection manager, from both sides of each limit."""

from harness.client import request_bytes
from harness.upstream import chunked, on_head, reply

from ..model import bytes_of, case, get, http_options, prefix, req, to


def _sized(total):
    """A request whose head is exactly `total` bytes on the wire."""
    frame = request_bytes(headers={"x-fill": ""})
    return request_bytes(headers={"x-fill": "a" * (total - len(frame))})


def _fields(count, expect=200):
    """A request with `count` fields."""
    return get(headers=[(f"x-{i}", "1") for i in range(count - 1)], expect=expect)


case("a head well below 60 KiB passes", bytes_of(_sized(50 * 1024), 200))
case("a head well above 60 KiB is refused with 431", bytes_of(_sized(70 * 1024), 431),
     expect_log={"flags": "DPE"})
case("max_request_headers_kb sets another limit",
     bytes_of(_sized(900), 200), bytes_of(_sized(3000), 431), hcm={"max_request_headers_kb": 1})
case("max_request_headers_kb lets larger heads through",
     bytes_of(_sized(80 * 1024), 200), hcm={"max_request_headers_kb": 96})
case("a hundred fields pass", _fields(100))
case("a hundred and one fields are refused", _fields(101, 431))
case("max_headers_count sets another limit",
     _fields(3), _fields(4), _fields(5), _fields(6, 431),
     hcm={"common_http_protocol_options": {"max_headers_count": 5}})
case("an upstream's hundred fields pass and one more does not",
     get("/100"), get("/101", expect=502),
     upstreams={"up": lambda e: reply(200, b"", [
         (f"x-{i}", "1") for i in range(int(e.request.target[1:]) - 1)])(e)})
case("max_response_headers_kb of a cluster refuses a large head",
     get(expect=502), upstreams={"up": reply(headers={"x-fill": "a" * 3000})},
     clusters={"up": http_options(common_http_protocol_options={
         "max_response_headers_kb": 1})})
case("an upstream's head may be larger than a client's",
     get(), upstreams={"up": reply(headers={"x-fill": "a" * 70_000})})
case("HTTP/1.0 is refused by default",
     bytes_of(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 426))
case("accept_http_10 takes HTTP/1.0",
     bytes_of(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 200),
     bytes_of(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 200),
     bytes_of(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 200, "POST"),
     hcm={"http_protocol_options": {"accept_http_10": True}})
case("a chunked answer to HTTP/1.0 ends with the connection",
     bytes_of(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 200),
     hcm={"http_protocol_options": {"accept_http_10": True}}, upstreams={"up": chunked()})
case("HTTP/1.0 without a host is refused or gets the default host",
     bytes_of(b"GET / HTTP/1.0\r\n\r\n", 400),
     hcm={"http_protocol_options": {"accept_http_10": True}})
case("default_host_for_http_10 names the host",
     bytes_of(b"GET / HTTP/1.0\r\n\r\n", 200),
     hcm={"http_protocol_options": {"accept_http_10": True,
                                    "default_host_for_http_10": "old.example"}})
case("allow_absolute_url false",
     bytes_of(b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", 404),
     hcm={"http_protocol_options": {"allow_absolute_url": False}})
case("a content-length together with chunked is refused by default",
     bytes_of(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
              b"\r\n2\r\nhi\r\n0\r\n\r\n", 400, "POST"))
case("request trailers are dropped by default",
     req("POST", "/", {"transfer-encoding": "chunked"}, b"2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n"))
case("enable_trailers passes request trailers on",
     req("POST", "/", {"transfer-encoding": "chunked"}, b"2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n"),
     hcm={"http_protocol_options": {"enable_trailers": True}},
     clusters={"up": {"typed_extension_protocol_options": {
         "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
             "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
             "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}})
case("response trailers are dropped by default",
     get(), upstreams={"up": chunked(trailers=[("x-t", "1")])})
case("enable_trailers passes response trailers on",
     get(), hcm={"http_protocol_options": {"enable_trailers": True}},
     upstreams={"up": chunked(trailers=[("x-t", "1")])},
     clusters={"up": {"typed_extension_protocol_options": {
         "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
             "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
             "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}})
case("stream_error_on_invalid_http_message leaves the connection open after a bad message",
     bytes_of(b"GET / HTTP/1.1\r\n\r\n", 400),
     hcm={"stream_error_on_invalid_http_message": True})
MALFORMED = {
    "two content-lengths": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                                 b"Content-Length: 2\r\n\r\nab"),
    "a space before the colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nx-a : 1\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    "a malformed request line": (400, b"GARBAGE\r\n\r\n"),
    "an unknown version": (426, b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
    "an unknown transfer coding": (
        501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "a malformed chunk size": (
        400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
}
for _name, (_status, _data) in MALFORMED.items():
    case(f"{_name} is refused with {_status}",
         bytes_of(_data, _status, _data.split(b" ")[0].decode()))


def _upgrade(target="/", expect=101, protocol="websocket", headers=()):
    return get(target, {"connection": "Upgrade", "upgrade": protocol, **dict(headers)},
               expect=expect)


@on_head
def _switching(exchange):
    """An upstream that accepts an upgrade and echoes what follows."""
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"
                  b"upgrade: websocket\r\nx-up: 1\r\n\r\n")
    exchange.echo()


def _conversation(run):
    """An upgrade, bytes in both directions, and an end."""
    with run.connect() as connection:
        connection.send(_upgrade().data + b"early")
        run.record(connection)
        run.note("echo", connection.read_bytes(5))
        connection.send(b"more")
        run.note("echo", connection.read_bytes(4))
    run.upstreams["up"].wait_ended(0)


WEBSOCKET = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
case("an upgrade that is not configured is refused", _upgrade(expect=403))
case("a websocket upgrade passes both ways", scenario=_conversation, hcm=WEBSOCKET,
     upstreams={"up": _switching})
case("an upgrade type is compared without case",
     _upgrade(protocol="WebSocket"), hcm=WEBSOCKET, upstreams={"up": _switching})
case("another upgrade type is refused", _upgrade(protocol="other", expect=403), hcm=WEBSOCKET)
case("an upgrade that the upstream declines is an ordinary answer",
     _upgrade(expect=200), hcm=WEBSOCKET)
case("a route can refuse an upgrade",
     _upgrade("/no", expect=403), hcm=WEBSOCKET, upstreams={"up": _switching},
     routes=[to("up", prefix("/no"), upgrade_configs=[
         {"upgrade_type": "websocket", "enabled": False}]), to("up")])
case("a route can allow an upgrade",
     _upgrade("/yes"), _upgrade("/no", expect=403), upstreams={"up": _switching},
     routes=[to("up", prefix("/yes"), upgrade_configs=[{"upgrade_type": "websocket"}]), to("up")])
case("CONNECT is refused unless it is configured",
     bytes_of(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", 404, "CONNECT"))
case("an upgrade with a body length",
     bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              b"Content-Length: 2\r\n\r\nhi", 101), hcm=WEBSOCKET, upstreams={"up": _switching},
     by_chance=" sent: ")
case("an upgrade to h2c is ignored",
     get(headers={"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c",
                  "http2-settings": "AAMAAABkAAQAAP__"}))
