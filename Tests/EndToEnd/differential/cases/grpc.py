"""What filters do for gRPC: grpc_stats, and grpc_web for browsers."""

import base64
import struct

from harness.http2 import DATA, END_STREAM, Peer, Server, frame
from harness.waiting import until

from ..model import case, get, http_filter, post, prefix, says, to
from .http2 import ask, asked, http2_cluster, say, told

GRPC = ("content-type", "application/grpc")


def message(data, flags=0):
    """One message of a gRPC body."""
    return struct.pack(">BI", flags, len(data)) + data


# --- grpc_stats ---


def _stats(**config):
    return http_filter("envoy.filters.http.grpc_stats", "grpc_stats.v3.FilterConfig", **config)


def _call(path="/pkg.Echo/Say", body=None, kind="application/grpc", **options):
    return ask(path, ("content-type", kind), ("te", "trailers"), method="POST",
               body=message(b"hello") if body is None else body, **options)


def _answer(*messages, status="0", **options):
    return say(200, b"".join(map(message, messages)), [("grpc-status", status)], [GRPC], **options)


def _counted(name, server, requests, config, expect, **more):
    case(name, scenario=told(server, *requests), clusters={"up": http2_cluster(server)},
         filters=[_stats(**config)],
         expect_stats={f"cluster.@up.grpc{stat}": value for stat, value in expect.items()}, **more)


_counted("grpc_stats counts all methods together by default", _answer(b"a", b"bc"), [_call()], {},
         {".0": 1, ".success": 1, ".total": 1, ".request_message_count": 1,
          ".response_message_count": 2})
_counted("grpc_stats counts each method by itself", _answer(b"a"),
         [_call(), _call("/pkg.Echo/Other"), _call("/pkg.Echo/Say?query")],
         {"stats_for_all_methods": True},
         {".pkg.Echo.Say.0": 2, ".pkg.Echo.Say.success": 2, ".pkg.Echo.Say.total": 2,
          ".pkg.Echo.Other.total": 1, ".pkg.Echo.Say.request_message_count": 2,
          ".pkg.Echo.Say.response_message_count": 2, ".total": 0})
_counted("grpc_stats without stats for all methods counts them together", _answer(), [_call()],
         {"stats_for_all_methods": False}, {".total": 1, ".response_message_count": 0})
_counted("grpc_stats counts the methods of its allowlist by themselves", _answer(b"a"),
         [_call(), _call("/pkg.Echo/Other"), _call("/other/Say"), _call("/two/B")],
         {"individual_method_stats_allowlist": {"services": [
             {"name": "pkg.Echo", "method_names": ["Say", "Sing"]},
             {"name": "two", "method_names": ["A", "B"]}]}},
         {".pkg.Echo.Say.total": 1, ".two.B.total": 1, ".total": 2})
_counted("grpc_stats replaces dots in service names", _answer(b"a"), [_call("/a.b.C/D.e")],
         {"stats_for_all_methods": True, "replace_dots_in_grpc_service_name": True},
         {".a_b_C.D.e.total": 1})
_counted("grpc_stats leaves the dots of listed service names", _answer(b"a"), [_call("/a.b.C/D")],
         {"individual_method_stats_allowlist": {"services": [
             {"name": "a.b.C", "method_names": ["D"]}]},
          "replace_dots_in_grpc_service_name": True}, {".a.b.C.D.total": 1})
_counted("grpc_stats counts failures by their status", _answer(status="13"), [_call()],
         {"stats_for_all_methods": True},
         {".pkg.Echo.Say.13": 1, ".pkg.Echo.Say.failure": 1, ".pkg.Echo.Say.success": 0})
_counted("grpc_stats counts a status that gRPC does not know", _answer(status="99"), [_call()], {},
         {".99": 1, ".failure": 1})
_counted("grpc_stats counts an answer of trailers only",
         Server(lambda peer, request: peer.send(peer.section(request.stream, [
             (":status", "200"), GRPC, ("grpc-status", "5")]))), [_call()], {},
         {".5": 1, ".total": 1, ".response_message_count": 0})
_counted("grpc_stats counts empty messages", _answer(b"", b"", b"x"),
         [_call(body=message(b"") * 3 + message(b"y"))], {},
         {".request_message_count": 4, ".response_message_count": 3})
_counted("grpc_stats counts a message that has only begun", say(
    200, message(b"whole") + b"\0", [("grpc-status", "0")], [GRPC]), [_call(body=b"\0\0\0")], {},
         {".request_message_count": 1, ".response_message_count": 2})
_counted("grpc_stats leaves what is not gRPC alone", say(200, b"x"),
         [_call(kind="application/json"), _call(kind="application/grpc-web"), ask("/a/b")],
         {"stats_for_all_methods": True}, {".total": 0})
_counted("grpc_stats takes subtypes of gRPC", _answer(b"a"),
         [_call(kind="application/grpc+proto")], {}, {".total": 1})
_counted("grpc_stats counts no path of one part or three", _answer(b"a"),
         [_call("/one"), _call("/one/two/three"), _call("//one//two/")], {}, {".total": 1})
_counted("grpc_stats does not take an answer of another type for gRPC",
         say(200, message(b"a"), [("grpc-status", "0")]), [_call()], {},
         {".total": 1, ".response_message_count": 0})
_counted("grpc_stats counts a status in the head beside that of the trailers",
         say(200, message(b"a"), [("grpc-status", "0")], [GRPC, ("grpc-status", "3")]), [_call()],
         {}, {".0": 1, ".3": 1, ".total": 2})
case("grpc_stats counts the proxy's own answers", scenario=asked(_call()),
     upstreams={"up": "refused"}, filters=[_stats(stats_for_all_methods=True)],
     expect_stats={"cluster.@up.grpc.pkg.Echo.Say.14": 1,
                   "cluster.@up.grpc.pkg.Echo.Say.request_message_count": 1})
case("grpc_stats counts nothing where there is no route", routes=[], scenario=asked(_call()),
     filters=[_stats()])
case("grpc_stats counts nothing of a direct response", routes=[says("x")],
     scenario=asked(_call()), filters=[_stats()])


def _in_pieces(run, pieces, path="/pkg.Echo/Say"):
    peer = Peer.client(run.port)
    head = [(":method", "POST"), (":scheme", "http"), (":path", path),
            (":authority", "test.example"), GRPC, ("te", "trailers")]
    peer.send(peer.section(1, head, end=False))
    for piece in pieces:
        peer.send(frame(DATA, 0, 1, piece))
    peer.send(frame(DATA, END_STREAM, 1, b""))
    run.note("status", peer.response(1)[2])
    peer.close()


_whole = message(b"abc") + message(b"") + message(b"d" * 300)
_pieces = _answer(b"xyz", b"")
case("grpc_stats counts messages whose bytes come one by one",
     scenario=lambda run: _in_pieces(run, [bytes([byte]) for byte in _whole]),
     clusters={"up": http2_cluster(_pieces)}, filters=[_stats()],
     expect_stats={"cluster.@up.grpc.request_message_count": 3,
                   "cluster.@up.grpc.response_message_count": 2})


def _timed(server, *requests):
    def scenario(run):
        asked(*requests)(run)
        name = f"cluster.{run.case.tag}_up.grpc.pkg.Echo.Say.upstream_rq_time"
        until(lambda: name in run.proxy.admin("/stats?filter=upstream_rq_time").body.decode(), 10,
              "the upstream's time")
        run.note("requests", len(server.requests))
        server.requests.clear()

    return scenario


_time = _answer(b"a")
case("grpc_stats records the upstream's time", scenario=_timed(_time, _call()),
     clusters={"up": http2_cluster(_time)},
     filters=[_stats(stats_for_all_methods=True, enable_upstream_stats=True)])

# --- grpc_web ---

_WEB = http_filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb")
BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"


def _web(name, server, *steps, expect=None, **more):
    """A case with HTTP/1 steps, an HTTP/2 upstream, and what that one was asked."""
    def scenario(run):
        for step in steps:
            run.send(step)
        for request in server.requests:
            run.note("asked", sorted(run._headers(list(request.headers.items()))))
            run.note("sent", request.body.decode("latin-1"))
        server.requests.clear()

    case(name, scenario=scenario, filters=[_WEB], clusters={"up": http2_cluster(server)},
         expect_stats={f"cluster.@up.grpc-web.{stat}": n for stat, n in (expect or {}).items()},
         **more)


def _ask(body, kind=BINARY, **fields):
    return post("/pkg.Echo/Say", body, {"content-type": kind, "x-grpc-web": "1", **fields})


def _says(*messages, trailers=(("grpc-status", "0"), ("grpc-message", "fine"))):
    return say(200, b"".join(map(message, messages)), list(trailers), [GRPC])


_HELLO = message(b"hello")
_web("grpc_web translates a binary call", _says(b"world"), _ask(_HELLO),
     expect={"pkg.Echo.Say.0": 1, "pkg.Echo.Say.success": 1, "pkg.Echo.Say.total": 1})
_web("grpc_web takes the type without a subtype", _says(b"world"),
     _ask(_HELLO, "application/grpc-web"))
_web("grpc_web reads text and answers in binary", _says(b"world"),
     _ask(base64.b64encode(_HELLO), TEXT))
_web("grpc_web reads text and answers in text", _says(b"world"),
     _ask(base64.b64encode(_HELLO), TEXT, accept=TEXT))
_web("grpc_web takes text without a subtype", _says(b"w"),
     _ask(base64.b64encode(_HELLO), "application/grpc-web-text",
          accept="application/grpc-web-text"))
_web("grpc_web reads binary and answers in text", _says(b"world"), _ask(_HELLO, accept=TEXT))
for _length in range(4):
    _web(f"grpc_web pads each message by itself, with {_length} bytes",
         _says(b"x" * _length, b"y" * 100, b""), _ask(message(b"z" * _length), accept=TEXT))
_web("grpc_web answers a large body in text", _says(b"x" * 100_000), _ask(_HELLO, accept=TEXT))
_web("grpc_web reads a large body in text", _says(b"x"),
     _ask(base64.b64encode(message(b"x" * 100_000)), TEXT))
_web("grpc_web keeps what the client accepts of encodings", _says(b"x"),
     _ask(_HELLO, **{"grpc-accept-encoding": "gzip", "te": "trailers"}))
_web("grpc_web takes padding at the end", _says(b"x"), _ask(b"AAAAAAA=", TEXT),
     _ask(b"AAAAAA==", TEXT))
_web("grpc_web with a body of nothing", _says(b"x"), _ask(b"", TEXT), _ask(b""))
_web("grpc_web leaves other types alone", _says(b"x"), _ask(_HELLO, "application/grpc"),
     _ask(_HELLO, "application/grpc-web-text+json"), _ask(_HELLO, "application/json"),
     get("/pkg.Echo/Say"))
_web("grpc_web takes the type as it is written only", _says(b"x"),
     _ask(_HELLO, "Application/grpc-web"), _ask(_HELLO, "application/grpc-web; charset=utf-8"))
_web("grpc_web passes an answer of trailers only", Server(
    lambda peer, request: peer.send(peer.section(request.stream, [
        (":status", "200"), GRPC, ("grpc-status", "5"), ("grpc-message", "no such thing")]))),
     _ask(_HELLO), _ask(_HELLO, accept=TEXT), expect={"pkg.Echo.Say.5": 2})
_web("grpc_web with trailers of many fields", _says(b"x", trailers=[
    ("grpc-status", "0"), ("x-a", "1"), ("x-b", "two words"), ("x-a", "2")]),
     _ask(_HELLO), _ask(_HELLO, accept=TEXT))
_web("grpc_web with a path that is no method", _says(b"x"),
     post("/one", _HELLO, {"content-type": BINARY}))
for _status in (200, 400, 401, 404, 429, 500, 503):
    _web(f"grpc_web explains an answer of {_status} that is not gRPC",
         say(_status, b"what is\nthis 100%?", fields=[("content-type", "text/plain")]),
         _ask(_HELLO), _ask(_HELLO, accept=TEXT))
_web("grpc_web with an answer of no body that is not gRPC", say(503), _ask(_HELLO))
_web("grpc_web explains an answer with trailers that is not gRPC",
     say(500, b"oh", [("x-end", "1")]), _ask(_HELLO))
_web("grpc_web passes gRPC-Web of an upstream that speaks it",
     say(200, _HELLO, fields=[("content-type", "application/grpc-web+proto; a=b")]), _ask(_HELLO))
case("grpc_web explains that the upstream is away", filters=[_WEB], upstreams={"up": "refused"},
     scenario=lambda run: [run.send(_ask(_HELLO)), run.send(_ask(_HELLO, accept=TEXT))])
case("grpc_web explains that there is no route", filters=[_WEB], routes=[],
     scenario=lambda run: run.send(_ask(_HELLO)))
case("grpc_web with a direct response", filters=[_WEB],
     routes=[says("not here", prefix("/pkg"), status=404), to("up")],
     scenario=lambda run: run.send(_ask(_HELLO)))

_web2 = _says(b"world", b"again")
case("grpc_web over HTTP/2", filters=[_WEB], clusters={"up": http2_cluster(_web2)},
     scenario=told(_web2, *[ask("/pkg.Echo/Say", ("content-type", kind), ("accept", accept),
                                method="POST", body=body)
                            for kind, accept, body in [
                                (BINARY, BINARY, _HELLO),
                                (TEXT, TEXT, base64.b64encode(_HELLO))]]))


def _text_in_pieces(server, size):
    def scenario(run):
        text = base64.b64encode(message(b"some words that are sent bit by bit"))
        with run.connect() as connection:
            connection.send(b"POST /pkg.Echo/Say HTTP/1.1\r\nhost: test.example\r\n"
                            b"content-type: " + TEXT.encode() + b"\r\n"
                            b"transfer-encoding: chunked\r\n\r\n")
            for place in range(0, len(text), size):
                piece = text[place:place + size]
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
            run.record(connection, "POST")
        for request in server.requests:
            run.note("sent", request.body.decode("latin-1"))
        server.requests.clear()

    return scenario


def _refused(server, body, missing):
    """The head first, so that the upstream has it before the body is found to be wrong."""
    def scenario(run):
        with run.connect() as connection:
            connection.send(b"POST /pkg.Echo/Say HTTP/1.1\r\nhost: test.example\r\n"
                            b"content-type: " + TEXT.encode() + b"\r\n"
                            b"content-length: %d\r\n\r\n" % (len(body) + missing))
            until(lambda: server.requests, 5, "the upstream to see the request")
            connection.send(body)
            run.record(connection, "POST")
        server.requests.clear()

    return scenario


for _bad in (b"AAAAA", b"AA", b"AAA*", b"A===", b"AAB=", b"AB==", b"====", b"AA=A"):
    _bits = _says(b"x")
    case(f"grpc_web refuses the text {_bad.decode()}", filters=[_WEB],
         clusters={"up": http2_cluster(_bits)},
         scenario=_refused(_bits, _bad, 4 if len(_bad) == 4 else 0),
         expect_log={"code": "400"})
for _size in (1, 3, 5):
    _bits = _says(b"x")
    case(f"grpc_web reads text in pieces of {_size}", filters=[_WEB],
         clusters={"up": http2_cluster(_bits)}, scenario=_text_in_pieces(_bits, _size))
