"""What upstreams answer, well or badly, and what the client gets of it."""

from harness.upstream import chunked, on_head, raw, reply, sequence

from ..model import case, get, post, req

OK = b"HTTP/1.1 200 OK\r\n"


def _answers(name, data, expect=200, then="keep", **parts):
    case(f"upstream: {name}", get(expect=expect), upstreams={"up": raw(data, then=then)}, **parts)


_answers("a body with a length", OK + b"content-length: 5\r\n\r\nhello")
_answers("a body of no length", OK + b"content-length: 0\r\n\r\n")
_answers("a chunked body", OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
_answers("chunks with extensions", OK + b"transfer-encoding: chunked\r\n\r\n"
         b"5;a=b\r\nhello\r\n0;c\r\n\r\n")
_answers("a body that ends with the connection", OK + b"\r\nhello", then="fin")
_answers("a body that ends with the connection and says close",
         OK + b"connection: close\r\n\r\nhello", then="fin")
_answers("HTTP/1.0 with a body until the end", b"HTTP/1.0 200 OK\r\n\r\nhello", then="fin")
_answers("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", then="fin")
_answers("HTTP/1.0 with keep-alive",
         b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello")
_answers("a reason of its own", b"HTTP/1.1 200 Fine Indeed\r\ncontent-length: 0\r\n\r\n")
_answers("no reason", b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n")
_answers("no reason and no space before it", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n")
_answers("an unusual status", b"HTTP/1.1 299 Odd\r\ncontent-length: 0\r\n\r\n", 299)
_answers("the largest status", b"HTTP/1.1 599 Odd\r\ncontent-length: 0\r\n\r\n", 599)
_answers("a 204", b"HTTP/1.1 204 No Content\r\n\r\n", 204)
_answers("a 204 with a content-length of zero",
         b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204)
_answers("a 304", b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n", 304)
_answers("a 304 with a content-length",
         b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304)
_answers("a 100 before the answer", b"HTTP/1.1 100 Continue\r\n\r\n" + OK
         + b"content-length: 0\r\n\r\n")
_answers("a 103 before the answer", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK
         + b"content-length: 0\r\n\r\n")
_answers("a 102 before the answer", b"HTTP/1.1 102 Processing\r\n\r\n" + OK
         + b"content-length: 0\r\n\r\n")
_answers("two content-lengths that agree",
         OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", 502)
_answers("two content-lengths that differ",
         OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", 502)
_answers("a content-length that is no number", OK + b"content-length: abc\r\n\r\n", 502)
_answers("a negative content-length", OK + b"content-length: -1\r\n\r\n", 502)
_answers("a content-length and chunked",
         OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 502)
_answers("an unknown transfer coding", OK + b"transfer-encoding: gzip\r\n\r\n", 502, then="fin")
_answers("a malformed chunk size", OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n", None)
_answers("a malformed status line", b"HTTP/1.1 OK 200\r\n\r\n", 502)
_answers("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", None)
_answers("another protocol", b"SSH-2.0-OpenSSH\r\n\r\n", 502)
_answers("a space before the colon", OK + b"x-a : 1\r\ncontent-length: 0\r\n\r\n", 502)
_answers("a folded line", OK + b"x-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n")
_answers("a NUL in a value", OK + b"x-a: a\x00b\r\ncontent-length: 0\r\n\r\n", 502)
_answers("the end within the head", OK + b"content-le", 502, then="fin")
_answers("a reset within the head", OK + b"content-le", 502, then="rst")
_answers("the end within a length", OK + b"content-length: 9\r\n\r\nabc", None, then="fin")
_answers("the end within a chunk", OK + b"transfer-encoding: chunked\r\n\r\n9\r\nabc", None,
         then="fin")
_answers("the end before the last chunk", OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
         None, then="fin")
_answers("more bytes than the length", OK + b"content-length: 3\r\n\r\nabcdef")
_answers("a 101 that nobody asked for",
         b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", 101)
case("upstream: an answer to HEAD names a length and has no body",
     req("HEAD", "/"), upstreams={"up": raw(OK + b"content-length: 5\r\n\r\n")})
case("upstream: a chunked answer to HEAD",
     req("HEAD", "/"), upstreams={"up": raw(OK + b"transfer-encoding: chunked\r\n\r\n")})
case("upstream: a pooled connection is used after a chunked answer",
     get(on="a"), get(on="a"), upstreams={"up": chunked()})
case("upstream: a connection with bytes left over is not used again",
     get(on="a"), get(on="a"),
     upstreams={"up": sequence(raw(OK + b"content-length: 1\r\n\r\nab"), reply())})
case("upstream: a large body passes whole",
     get(), upstreams={"up": reply(body=b"0123456789" * 60_000)})
case("upstream: a large request body passes whole", post(body=b"0123456789" * 60_000))
case("upstream: a chunked request passes as chunks",
     req("POST", "/", {"transfer-encoding": "chunked"},
         b"5\r\nhello\r\n6;x=1\r\n world\r\n0\r\n\r\n"))
case("upstream: an empty chunked request",
     req("POST", "/", {"transfer-encoding": "chunked"}, b"0\r\n\r\n"))
case("upstream: a POST without a body and without a length", req("POST", "/"))
case("upstream: a POST with a length of zero", post(body=b""))
case("upstream: a GET with a body", req("GET", "/", body=b"abc"))
case("upstream: a DELETE with a body", req("DELETE", "/", body=b"abc"))


def _pipelined(run):
    """Three requests in one segment, answered in order."""
    with run.connect() as connection:
        connection.send(get("/1").data + post("/2").data + get("/3").data)
        for method in ("GET", "POST", "GET"):
            run.record(connection, method)


case("upstream: pipelined requests are answered in order",
     scenario=_pipelined,
     upstreams={"up": lambda e: reply(body=e.request.target.encode())(e)})


def _early(run):
    """The upstream answers before the request's body is complete."""
    with run.connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        run.record(connection, "POST")


case("upstream: an answer before the end of the request",
     scenario=_early, upstreams={"up": on_head(lambda e: [reply(413, b"too much")(e), e.stall()])})
case("upstream: headers that belong to Envoy pass or not",
     get(), upstreams={"up": reply(headers={
         "x-envoy-upstream-service-time": "77", "x-envoy-overloaded": "true",
         "x-envoy-degraded": "1", "x-envoy-immediate-health-check-fail": "1",
         "x-envoy-upstream-healthchecked-cluster": "c", "x-envoy-decorator-operation": "op",
         "x-envoy-attempt-count": "3", "x-request-id": "theirs"})})
case("upstream: a canary is counted", get(), upstreams={"up": reply(
    headers={"x-envoy-upstream-canary": "true"})})
