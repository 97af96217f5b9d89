"""HTTP/2 from clients and to upstreams."""

import struct

from harness.http2 import DATA, RST_STREAM, SETTINGS, Peer, Server, frame
from harness.upstream import reply

from ..model import HTTP_OPTIONS, case, get, says, typed


def asked(*requests, settings=()):
    """A scenario: requests one after the other on one connection, their answers noted."""
    def scenario(run):
        peer = Peer.client(run.port, settings)
        try:
            for number, (head, body, trailers) in enumerate(requests):
                answer(run, peer, 1 + 2 * number, head, body, trailers)
        finally:
            peer.close()

    return scenario


def answer(run, peer, stream, head, body, trailers):
    """Sends one request and notes what comes back."""
    data = peer.section(stream, head, end=body is None and trailers is None)
    if body is not None:
        data += frame(DATA, 0 if trailers else 1, stream, body)
    if trailers:
        data += peer.section(stream, trailers)
    peer.send(data)
    try:
        headers, text, end = peer.response(stream)
    except AssertionError as problem:
        return run.note("problem", problem)
    lines = run._headers([(n, v) for n, v in headers.items()])
    run.note("head", lines)
    run.note("body", text.decode("latin-1"))
    return run.note("trailers", sorted(end.items()) if end else None)


def ask(path="/", *fields, method="GET", body=None, trailers=None, host="test.example"):
    """One request."""
    return ([(":method", method), (":scheme", "http"), (":path", path), (":authority", host),
             *fields], body, trailers)


def told_settings(run):
    """A scenario: notes the settings a client is told."""
    peer = Peer.client(run.port)
    peer.until(lambda f: f.kind == SETTINGS)
    run.note("settings", sorted(peer.settings.items()))
    peer.close()


def reset_by_client(run):
    """A scenario: the client gives up on a request that hangs."""
    peer = Peer.client(run.port)
    peer.send(peer.headers(1, host="test.example"))
    while not run.upstreams["up"].requests:
        pass
    peer.send(frame(RST_STREAM, stream=1, payload=struct.pack(">I", 8)))
    peer.send(peer.headers(3, path="/ok", host="test.example"))
    run.note("status", peer.response(3)[0][":status"])
    peer.close()


def hang(exchange):
    """Answers `/ok`, and nothing else."""
    if exchange.request.target == "/ok":
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    else:
        exchange.link.socket.recv(1)


case("an HTTP/2 client is answered", scenario=asked(ask("/a?b=c", ("x-a", "1"))),
     expect_log={"protocol": "HTTP/2", "code": "200"})
case("an HTTP/2 client's body and its length pass",
     scenario=asked(ask(method="POST", body=b"data"),
                    ask("/", ("content-length", "4"), method="POST", body=b"data")))
case("te, cookies and pseudo fields of HTTP/2 become HTTP/1's",
     scenario=asked(ask("/", ("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"))))
case("an HTTP/2 HEAD has no body", scenario=asked(ask(method="HEAD")))
case("a direct response over HTTP/2", routes=[says("hello")], scenario=asked(ask()))
case("a 204 over HTTP/2", upstreams={"up": reply(204)}, scenario=asked(ask()))
case("a redirect over HTTP/2",
     routes=[{"match": {"prefix": "/"}, "redirect": {"https_redirect": True}}],
     scenario=asked(ask("/x")))
case("no route over HTTP/2", routes=[], scenario=asked(ask()), expect_log={"code": "404"})
case("an upstream that is away, over HTTP/2", upstreams={"up": "refused"}, scenario=asked(ask()))
case("a gRPC caller is told a gRPC status", routes=[],
     scenario=asked(ask("/s/M", ("content-type", "application/grpc"), ("te", "trailers"),
                        method="POST")))
case("an HTTP/2 client that resets is logged so", upstreams={"up": hang},
     scenario=reset_by_client)
case("codec_type HTTP2 is spoken from the first byte", hcm={"codec_type": "HTTP2"},
     scenario=asked(ask()))
case("an HTTP/2 client is told the default settings", scenario=told_settings)
case("an HTTP/2 client is told the configured settings", scenario=told_settings,
     hcm={"http2_protocol_options": {
         "hpack_table_size": 2048, "max_concurrent_streams": 9,
         "initial_stream_window_size": 70000, "initial_connection_window_size": 90000,
         "allow_connect": True}})
case("the bounds on HTTP/2's frames are taken", scenario=asked(ask()),
     hcm={"http2_protocol_options": {
         "max_outbound_frames": 100, "max_outbound_control_frames": 50,
         "max_consecutive_inbound_frames_with_empty_payload": 3,
         "max_inbound_priority_frames_per_stream": 7,
         "max_inbound_window_update_frames_per_data_frame_sent": 5,
         "override_stream_error_on_invalid_http_message": True,
         "connection_keepalive": {"interval": "60s", "timeout": "10s",
                                  "interval_jitter": {"value": 10}}}})



def http2_cluster(server, **http2):
    """A cluster that speaks HTTP/2 to a server of the case's own."""
    explicit = {"explicit_http_config": {"http2_protocol_options": http2}}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}
    return {
        "typed_extension_protocol_options": {HTTP_OPTIONS: typed(HTTP_OPTIONS, **explicit)},
        "load_assignment": {"endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address}}]}]},
    }


def say(status=200, body=b"", trailers=None, fields=()):
    """An HTTP/2 upstream that answers each request so."""
    return Server(lambda peer, request: peer.answer(
        request.stream, status, body, fields, trailers))


def reset_with(code):
    """An HTTP/2 upstream that resets each stream."""
    return Server(lambda peer, request: peer.send(
        frame(RST_STREAM, stream=request.stream, payload=struct.pack(">I", code))))


def told(server, *requests):
    """A scenario that also notes what the HTTP/2 upstream was asked, and forgets it."""
    def scenario(run):
        asked(*requests)(run)
        for request in server.requests:
            run.note("asked", run._headers([(n, v) for n, v in request.headers.items()]))
            run.note("sent", request.body.decode("latin-1"))
            run.note("trailers", request.trailers)
        server.requests.clear()

    return scenario


_GRPC = ("content-type", "application/grpc")
for _name, _server, _requests in [
    ("an HTTP/2 upstream is asked and answers", say(200, b"hello"), [ask("/a?b")]),
    ("a body to an HTTP/2 upstream", say(), [ask(method="POST", body=b"data")]),
    ("trailers pass through HTTP/2 on both sides", say(200, b"x", [("x-end", "1")]),
     [ask(method="POST", body=b"data", trailers=[("x-sum", "2")])]),
    ("an HTTP/2 upstream resets with REFUSED_STREAM", reset_with(7), [ask()]),
    ("an HTTP/2 upstream resets with INTERNAL_ERROR", reset_with(2), [ask()]),
    ("a gRPC answer passes", say(200, b"", [("grpc-status", "5"), ("grpc-message", "no")], [_GRPC]),
     [ask("/s/M", _GRPC, ("te", "trailers"), method="POST", body=b"")]),
]:
    case(_name, scenario=told(_server, *_requests), clusters={"up": http2_cluster(_server)})


def as_client(server=None):
    """A cluster that is spoken to as clients speak."""
    options = {"use_downstream_protocol_config": {
        "http_protocol_options": {"enable_trailers": True},
        "http2_protocol_options": {"max_concurrent_streams": 7}}}
    return {**(http2_cluster(server) if server else {}),
            "typed_extension_protocol_options": {HTTP_OPTIONS: typed(HTTP_OPTIONS, **options)}}


_same = say(200, b"same")
case("an upstream is spoken to in HTTP/2 as the client speaks", scenario=told(_same, ask()),
     clusters={"up": as_client(_same)}, expect_stats={"cluster.@up.upstream_cx_http2_total": 1})
case("an upstream is spoken to in HTTP/1 as the client speaks", get(), get(),
     clusters={"up": as_client()}, expect_stats={"cluster.@up.upstream_cx_http1_total": 1})
_old = say(200, b"old")
case("the old field for HTTP/2 upstreams", scenario=told(_old, ask()),
     clusters={"up": {**http2_cluster(_old), "typed_extension_protocol_options": {},
                      "http2_protocol_options": {"max_concurrent_streams": 5}}})
