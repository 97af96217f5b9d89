"""HTTP/1 framing and malformed messages, in both directions (RFC 9110, RFC 9112).

Each row of the tables is one message and what may become of it. Whatever the verdict, what the
upstream receives must be a well-formed request, and nothing that hides in a message may ever be
taken for a message of its own: every hidden one asks for `/smuggled` or answers `POISON`.
"""

import fcntl
import re
import struct
import termios
import time
from dataclasses import dataclass

import pytest

from harness.client import Connection, ConnectionEnded, parse_fields, request_bytes
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, raw, reply

# Header fields that belong to one connection only (RFC 9110 section 7.6.1).
HOP_BY_HOP = {"keep-alive", "proxy-connection", "upgrade"}
# An upgrade is configured nowhere here, so `connection` has nothing to say upstream either.


class Site:
    """A proxy with a listener for HTTP/1.1, one that takes HTTP/1.0 too, and one upstream."""

    def __init__(self, kind):
        self.upstream = Upstream(reply(200, b"ok"))
        self.port, self.old_port = free_port(), free_port()
        common = {"delayed_close_timeout": "0.1s", "request_timeout": "3s"}
        self.proxy = Proxy(kind).start(bootstrap(
            [listener("strict", self.port, **common),
             listener("old", self.old_port, http_protocol_options={"accept_http_10": True},
                      **common)],
            [cluster("up", self.upstream.port)], free_port()))

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.upstream.stop()


@pytest.fixture(scope="module")
def site(proxy_kind):
    """One proxy for all rows; a row that breaks it breaks the following ones too, loudly."""
    one = Site(proxy_kind)
    yield one
    alive = one.proxy.alive()
    one.stop()
    assert alive, f"the proxy died:\n{one.proxy.output()[-3000:]}"


def check_forwarded(request):
    """What went upstream is a well-formed HTTP/1.1 request that has one meaning."""
    block = request.raw_head[:-4]
    line, _, rest = block.partition(b"\r\n")
    assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-\"$-~]+ HTTP/1\.1", line), line
    fields = parse_fields(rest)
    names = [name.lower() for name, _ in fields]
    assert names.count("host") == 1, fields
    assert re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s/@?#\\,<>:]*)(:[0-9]*)?", request.value("host"))
    assert not {"content-length", "transfer-encoding"} <= set(names), fields
    assert names.count("content-length") <= 1 and names.count("transfer-encoding") <= 1, fields
    assert re.fullmatch("[0-9]+", request.value("content-length") or "0"), fields
    assert request.value("transfer-encoding") in (None, "chunked"), fields
    assert not HOP_BY_HOP & set(names), fields
    assert request.value("te") in (None, "trailers"), fields
    assert "smuggled" not in request.target, request.raw_head


# --- verdicts ---


@dataclass
class Refused:
    """An error status, or just the end of the connection; nothing complete reaches the upstream."""

    statuses: tuple = (400,)

    def check(self, outcome):
        assert outcome.closed, f"the connection stays open after {outcome}"
        statuses = [r.status for r in outcome.responses]
        assert len(statuses) <= 1 and all(s in self.statuses for s in statuses), outcome
        assert not [r for r in outcome.forwarded if r.complete], outcome


@dataclass
class Passed:
    """Answered with 200 and forwarded as told."""

    body: bytes = None
    target: str = None
    host: str = None
    # Header lines that must, and names that must not, be there upstream.
    has: tuple = ()
    lacks: tuple = ()

    def check(self, outcome):
        assert [r.status for r in outcome.responses] == [200], outcome
        assert len(outcome.forwarded) == 1 and outcome.forwarded[0].complete, outcome
        request = outcome.forwarded[0]
        assert self.body is None or request.body == self.body, request
        assert self.target is None or request.target == self.target, request
        assert self.host is None or request.value("host") == self.host, request
        for name, value in self.has:
            assert value in request.values(name), request
        for name in self.lacks:
            assert not request.values(name), request


@dataclass
class Either:
    """The RFC leaves the choice; what is forwarded has to be right."""

    passed: Passed
    statuses: tuple = (400, 404, 421, 426, 431, 501, 505)

    def check(self, outcome):
        if [r.status for r in outcome.responses] == [200]:
            self.passed.check(outcome)
        elif [r.status for r in outcome.responses] == [404] and 404 in self.statuses:
            # Understood, and nothing is there: no reason to close.
            assert not outcome.forwarded, outcome
        else:
            Refused(self.statuses).check(outcome)


@dataclass
class Outcome:
    """What was seen: answers, whether the connection ended, and what went upstream."""

    responses: list
    closed: bool
    forwarded: list


def exchange(site, data, method="GET", port=None, half_close=False):
    """Sends bytes and reads until the first final answer or the end."""
    before = len(site.upstream.requests)
    with Connection(port or site.port, timeout=5) as connection:
        connection.send(data)
        if half_close:
            connection.half_close()
        responses, closed = [], False
        try:
            responses.append(connection.read_response(method))
            final = responses[-1]
            if final.status >= 300 or "close" in [v.lower() for v in final.values("connection")]:
                closed = connection.ends_within(3)
            elif not half_close:
                # The connection is still in step: a further request is answered and is the next
                # that the upstream sees.
                connection.send(request_bytes(target="/after"))
                after = connection.read_response()
                assert after.status == 200, after
                assert site.upstream.requests[-1].target == "/after"
        except ConnectionEnded:
            closed = True
    forwarded = [r for r in site.upstream.requests[before:] if r.target != "/after"]
    for request in forwarded:
        check_forwarded(request)
    return Outcome(responses, closed, forwarded)


# --- requests ---

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def head(*lines, line=b"POST / HTTP/1.1", host=b"Host: a"):
    """A request head of raw lines."""
    parts = [line] + ([host] if host else []) + list(lines)
    return b"\r\n".join(parts) + b"\r\n\r\n"


def with_length(value, body=b"hello"):
    """A POST with a content-length as written."""
    return head(b"Content-Length: " + value) + body


def with_coding(value, body=b"5\r\nhello\r\n0\r\n\r\n"):
    """A POST with a transfer-encoding as written."""
    return head(b"Transfer-Encoding: " + value) + body


def with_chunks(body):
    """A POST with a raw chunked body."""
    return head(b"Transfer-Encoding: chunked") + body


def with_line(line):
    """A GET with one more raw field line."""
    return head(line, line=b"GET / HTTP/1.1")


def with_host(value):
    """A GET with a raw Host value."""
    return b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def with_request_line(line):
    """A request with a raw first line."""
    return line + b"\r\nHost: a\r\n\r\n"


HELLO = Passed(body=b"hello")
CODING = Refused((400, 501))
VERSION = Refused((400, 426, 505))
LARGE = Refused((400, 413, 414, 431))
# A size that fits into 64 bits may also be waited for until the request's timeout.
HUGE = Refused((400, 408, 413))

REQUESTS = {
    # RFC 9112 section 6.3: one length, or none.
    "a content-length": (with_length(b"5"), HELLO),
    "a content-length of zero": (with_length(b"0", b""), Passed(body=b"")),
    "a content-length with space around it": (with_length(b" \t5\t "), HELLO),
    "a content-length with leading zeros": (with_length(b"0005"), Either(HELLO)),
    "a content-length with a plus sign": (with_length(b"+5"), Refused()),
    "a negative content-length": (with_length(b"-5"), Refused()),
    "a negative content-length of zero": (with_length(b"-0", b""), Refused()),
    "a hexadecimal content-length": (with_length(b"0x5"), Refused()),
    "a content-length with letters": (with_length(b"5a"), Refused()),
    "a content-length with an exponent": (with_length(b"5e0"), Refused()),
    "a content-length with a fraction": (with_length(b"5.0"), Refused()),
    "a content-length with a space within": (with_length(b"5 5"), Refused()),
    "a content-length with a semicolon": (with_length(b"5;"), Refused()),
    "an empty content-length": (with_length(b"", b""), Refused()),
    "a content-length of only spaces": (with_length(b"   ", b""), Refused()),
    "a content-length of eight-bit digits": (with_length("٥".encode()), Refused()),
    "a content-length with a vertical tab": (with_length(b"\x0b5"), Refused()),
    "a content-length with a NUL": (with_length(b"5\x00"), Refused()),
    "a content-length over 64 bits": (with_length(b"18446744073709551616"), LARGE),
    "a content-length that wraps to 5": (with_length(b"18446744073709551621"), LARGE),
    "a content-length of many digits": (with_length(b"9" * 400), LARGE),
    "two content-lengths that differ": (
        head(b"Content-Length: 5", b"Content-Length: 6") + b"hello", Refused()),
    "two content-lengths that agree": (
        head(b"Content-Length: 5", b"Content-Length: 5") + b"hello", Either(HELLO)),
    "a list of content-lengths that differ": (with_length(b"5, 6"), Refused()),
    "a list of content-lengths that agree": (with_length(b"5, 5"), Either(HELLO)),
    "a content-length list with nothing in it": (with_length(b","), Refused()),
    "a content-length and then chunked": (
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        Refused()),
    "chunked and then a content-length": (
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n" + SMUGGLED,
        Refused()),
    "a content-length of zero and chunked": (
        head(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", Refused()),
    "a content-length and an unknown coding": (
        head(b"Content-Length: 5", b"Transfer-Encoding: x") + b"hello", CODING),
    "a content-length below an underscore": (
        head(b"Content_Length: 9", b"Content-Length: 5") + b"hello", HELLO),
    # RFC 9112 section 6.1 and 7: chunked, last, once.
    "chunked": (with_coding(b"chunked"), HELLO),
    "chunked in capitals": (with_coding(b"CHUNKED"), HELLO),
    "chunked in mixed case": (with_coding(b"cHuNkEd"), HELLO),
    "chunked with space around it": (with_coding(b" \tchunked \t"), HELLO),
    "an unknown coding": (with_coding(b"xchunked"), CODING),
    "a coding that begins with chunked": (with_coding(b"chunkedx"), CODING),
    "identity": (with_coding(b"identity", b""), CODING),
    "gzip alone": (with_coding(b"gzip", b""), CODING),
    "gzip and chunked": (with_coding(b"gzip, chunked"), CODING),
    "chunked and gzip": (with_coding(b"chunked, gzip"), CODING),
    "chunked twice in a list": (with_coding(b"chunked, chunked"), CODING),
    "chunked in two fields": (
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", CODING),
    "chunked and identity in two fields": (
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + b"0\r\n\r\n", CODING),
    "identity and chunked in two fields": (
        head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", CODING),
    "an empty transfer-encoding": (with_coding(b"", b""), CODING),
    "chunked after an empty list element": (
        with_coding(b", chunked"), Either(HELLO)),
    "chunked before an empty list element": (with_coding(b"chunked,"), Either(HELLO)),
    "chunked with a parameter": (with_coding(b"chunked;q=1"), CODING),
    "chunked in quotes": (with_coding(b'"chunked"'), CODING),
    "chunked with a vertical tab": (with_coding(b"\x0bchunked"), CODING),
    "chunked with a form feed behind": (with_coding(b"chunked\x0c"), CODING),
    "chunked with a NUL": (with_coding(b"chunked\x00"), CODING),
    "chunked with a space before the colon": (
        head(b"Transfer-Encoding : chunked", b"Content-Length: 5") + b"hello", Refused()),
    "chunked in a folded line": (
        head(b"Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n", Refused()),
    "chunked below an underscore": (
        head(b"Transfer_Encoding: chunked", b"Content-Length: 5") + b"hello", HELLO),
    "chunked after a bare LF": (
        b"POST / HTTP/1.1\r\nHost: a\r\nx: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused()),
    "chunked after a bare CR": (
        b"POST / HTTP/1.1\r\nHost: a\r\nx: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused()),
    # RFC 9112 section 7.1: chunks.
    "one chunk": (with_chunks(b"5\r\nhello\r\n0\r\n\r\n"), HELLO),
    "several chunks": (with_chunks(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), HELLO),
    "a chunk size with leading zeros": (with_chunks(b"0005\r\nhello\r\n000\r\n\r\n"), HELLO),
    "a chunk size in capitals": (with_chunks(b"A\r\n0123456789\r\n0\r\n\r\n"),
                                 Passed(body=b"0123456789")),
    "a chunk size in lower case": (with_chunks(b"a\r\n0123456789\r\n0\r\n\r\n"),
                                   Passed(body=b"0123456789")),
    "a chunk extension": (with_chunks(b"5;a\r\nhello\r\n0\r\n\r\n"), HELLO),
    "a chunk extension with a value": (with_chunks(b"5;a=b;c=d\r\nhello\r\n0;e\r\n\r\n"), HELLO),
    "a chunk extension with a quoted value": (
        with_chunks(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'), HELLO),
    "a chunk extension after a space": (
        with_chunks(b"5 ;a=b\r\nhello\r\n0\r\n\r\n"), Either(HELLO)),
    "a chunk extension that ends with a bare LF": (
        with_chunks(b"5;a\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk extension with a bare LF within": (
        with_chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk extension with a bare CR within": (
        with_chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk extension with a NUL": (with_chunks(b"5;a\x00\r\nhello\r\n0\r\n\r\n"), Refused()),
    "chunk extensions without an end": (with_chunks(b"5;" + b"a" * 200_000), LARGE),
    "chunk extensions that add up": (
        with_chunks(b"".join(b"1;" + b"a" * 4000 + b"\r\nx\r\n" for _ in range(100))
                    + b"0\r\n\r\n"), LARGE),
    "an empty chunk size": (with_chunks(b"\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a negative chunk size": (with_chunks(b"-5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size with a plus sign": (with_chunks(b"+5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size with 0x": (with_chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size with an underscore": (with_chunks(b"0_5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size after a space": (with_chunks(b" 5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size before a space": (with_chunks(b"5 \r\nhello\r\n0\r\n\r\n"), Either(HELLO)),
    "a chunk size that is no number": (with_chunks(b"g\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size that ends with a bare LF": (with_chunks(b"5\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size that ends with a bare CR": (with_chunks(b"5\rhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size with a NUL": (with_chunks(b"5\x00\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size over 64 bits": (
        with_chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), LARGE),
    "a chunk size of 64 bits": (with_chunks(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), HUGE),
    "a chunk size of a sign bit": (
        with_chunks(b"8000000000000000\r\nhello\r\n0\r\n\r\n"), HUGE),
    "a chunk size of very many digits": (
        with_chunks(b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n"), Either(HELLO, LARGE.statuses)),
    "a chunk without its CRLF": (with_chunks(b"5\r\nhello0\r\n\r\n"), Refused()),
    "a chunk with only LF behind": (with_chunks(b"5\r\nhello\n0\r\n\r\n"), Refused()),
    "a chunk with only CR behind": (with_chunks(b"5\r\nhello\r0\r\n\r\n"), Refused()),
    "junk between a chunk and its CRLF": (with_chunks(b"5\r\nhelloXX\r\n0\r\n\r\n"), Refused()),
    "a chunk with two CRLF behind": (with_chunks(b"5\r\nhello\r\n\r\n0\r\n\r\n"), Refused()),
    "a last chunk of LF": (with_chunks(b"5\r\nhello\r\n0\n\n"), Refused()),
    "trailers": (with_chunks(b"5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"), HELLO),
    "a content-length in the trailers": (
        with_chunks(b"5\r\nhello\r\n0\r\ncontent-length: 50\r\n\r\n"),
        Either(Passed(body=b"hello", lacks=("content-length",)))),
    "a transfer-encoding in the trailers": (
        with_chunks(b"5\r\nhello\r\n0\r\ntransfer-encoding: x\r\n\r\n"), Either(HELLO)),
    "a host in the trailers": (
        with_chunks(b"5\r\nhello\r\n0\r\nhost: evil\r\n\r\n"),
        Either(Passed(body=b"hello", host="a"))),
    "a trailer without a colon": (with_chunks(b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), Refused()),
    "a trailer with a space before the colon": (
        with_chunks(b"5\r\nhello\r\n0\r\nx : 1\r\n\r\n"), Refused()),
    "a trailer that ends with a bare LF": (
        with_chunks(b"5\r\nhello\r\n0\r\nx: 1\n\r\n"), Refused()),
    "a folded trailer": (with_chunks(b"5\r\nhello\r\n0\r\nx: 1\r\n 2\r\n\r\n"), Refused()),
    "a trailer with a NUL": (with_chunks(b"5\r\nhello\r\n0\r\nx: \x00\r\n\r\n"), Refused()),
    "trailers beyond their limit": (
        with_chunks(b"0\r\nx: " + b"a" * 200_000 + b"\r\n\r\n"), LARGE),
    "trailers beyond their number": (
        with_chunks(b"0\r\n" + b"".join(b"x-%d: 1\r\n" % i for i in range(5000)) + b"\r\n"), LARGE),
    # RFC 9112 section 2.2 and 5: lines and fields.
    "a request line that ends with a bare LF": (
        b"GET / HTTP/1.1\nHost: a\r\n\r\n", Refused()),
    "a field line that ends with a bare LF": (
        b"GET / HTTP/1.1\r\nHost: a\nx: 1\r\n\r\n", Refused()),
    "a head that ends with a bare LF": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refused()),
    "a head of bare LFs": (b"GET / HTTP/1.1\nHost: a\n\n", Refused()),
    "a request line that ends with a bare CR": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", Refused()),
    "a bare CR in a value": (with_line(b"x: a\rb"), Refused()),
    "a bare CR at the end of a value": (with_line(b"x: a\r"), Refused()),
    "a bare CR in a name": (with_line(b"x\ry: a"), Refused()),
    "a bare LF in a value": (with_line(b"x: a\nb"), Refused()),
    "a hidden field behind a bare LF": (with_line(b"x: a\nConnection: close"), Refused()),
    "a NUL in a value": (with_line(b"x: a\x00b"), Refused()),
    "a NUL in a name": (with_line(b"x\x00y: a"), Refused()),
    "a control byte in a value": (with_line(b"x: a\x01b"), Refused()),
    "a vertical tab in a value": (with_line(b"x: a\x0bb"), Refused()),
    "a form feed in a value": (with_line(b"x: a\x0cb"), Refused()),
    "an escape in a value": (with_line(b"x: a\x1bb"), Refused()),
    "a DEL in a value": (with_line(b"x: a\x7fb"), Refused()),
    "a tab in a value": (with_line(b"x: a\tb"), Passed(has=(("x", "a\tb"),))),
    "eight-bit bytes in a value": (with_line(b"x: \xe4\xff"), Passed(has=(("x", "\xe4\xff"),))),
    "an empty value": (with_line(b"x:"), Passed(has=(("x", ""),))),
    "a value of spaces": (with_line(b"x:  \t "), Passed(has=(("x", ""),))),
    "a value without a space before it": (with_line(b"x:a"), Passed(has=(("x", "a"),))),
    "a colon in a value": (with_line(b"x: a:b"), Passed(has=(("x", "a:b"),))),
    "a space before the colon": (with_line(b"x : a"), Refused()),
    "a tab before the colon": (with_line(b"x\t: a"), Refused()),
    "a space in a name": (with_line(b"x y: a"), Refused()),
    "an empty name": (with_line(b": a"), Refused()),
    "only a colon": (with_line(b":"), Refused()),
    "a field without a colon": (with_line(b"nonsense"), Refused()),
    "a control byte in a name": (with_line(b"x\x01: a"), Refused()),
    "an eight-bit byte in a name": (with_line(b"x\xe4: a"), Refused()),
    **{f"{c!r} in a name": (with_line(b"x" + c.encode() + b"y: a"), Refused())
       for c in "()<>@,;\\\"/[]?={}"},
    **{f"{c!r} in a name, which is allowed": (with_line(b"x" + c.encode() + b"y: a"), Passed())
       for c in "!#$%&'*+.^_`|~"},
    "a folded line": (with_line(b"x: a\r\n b"), Refused()),
    "a folded line with a tab": (with_line(b"x: a\r\n\tb"), Refused()),
    "a folded Host": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Refused()),
    "a space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused()),
    "a pseudo header as a field": (with_line(b":path: /smuggled"), Refused()),
    "an empty line before the request": (b"\r\n" + head(line=b"GET / HTTP/1.1"), Either(Passed())),
    "a bare LF before the request": (
        b"\n" + head(line=b"GET / HTTP/1.1"), Either(Passed())),
    "very many empty lines before the request": (
        b"\r\n" * 100_000 + head(line=b"GET / HTTP/1.1"), Either(Passed())),
    "a CR CR LF line end": (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Refused()),
    # RFC 9112 section 3: request lines.
    "two spaces before the target": (with_request_line(b"GET  / HTTP/1.1"), Refused()),
    "two spaces before the version": (with_request_line(b"GET /  HTTP/1.1"), Refused()),
    "a space before the method": (with_request_line(b" GET / HTTP/1.1"), Refused()),
    "a space behind the version": (with_request_line(b"GET / HTTP/1.1 "), Refused()),
    "tabs instead of spaces": (with_request_line(b"GET\t/\tHTTP/1.1"), Refused()),
    "a request without a version": (b"GET /\r\n\r\n", VERSION),
    "a request without a version but with fields": (with_request_line(b"GET /"), VERSION),
    "HTTP/0.9": (with_request_line(b"GET / HTTP/0.9"), VERSION),
    "HTTP/1.2": (with_request_line(b"GET / HTTP/1.2"), Either(Passed())),
    "HTTP/1.10": (with_request_line(b"GET / HTTP/1.10"), VERSION),
    "HTTP/2.0": (with_request_line(b"GET / HTTP/2.0"), VERSION),
    "HTTP/3": (with_request_line(b"GET / HTTP/3"), VERSION),
    "HTTP/01.1": (with_request_line(b"GET / HTTP/01.1"), VERSION),
    "HTTP/1": (with_request_line(b"GET / HTTP/1"), VERSION),
    "HTTP/1.": (with_request_line(b"GET / HTTP/1."), VERSION),
    "HTTP/1,1": (with_request_line(b"GET / HTTP/1,1"), VERSION),
    "HTTP/1.1 in lower case": (with_request_line(b"GET / http/1.1"), VERSION),
    "HTTP/1.1 with a letter": (with_request_line(b"GET / HTTP/1.1a"), VERSION),
    "another protocol": (with_request_line(b"GET / RTSP/1.1"), VERSION),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60, Refused()),
    "an empty method": (with_request_line(b" / HTTP/1.1"), Refused()),
    "a method with a bracket": (with_request_line(b"GE(T / HTTP/1.1"), Refused()),
    "a method with a NUL": (with_request_line(b"GE\x00T / HTTP/1.1"), Refused()),
    "a method with an eight-bit byte": (with_request_line(b"G\xc4T / HTTP/1.1"), Refused()),
    "a method with a colon": (with_request_line(b"GET: / HTTP/1.1"), Refused()),
    "a very long method": (with_request_line(b"A" * 100_000 + b" / HTTP/1.1"), LARGE),
    "a method of an unknown name": (
        with_request_line(b"BREW / HTTP/1.1"), Either(Passed(), (400, 405, 501))),
    "a method in lower case": (
        with_request_line(b"get / HTTP/1.1"), Either(Passed(), (400, 405, 501))),
    "an empty target": (with_request_line(b"GET  HTTP/1.1"), Refused()),
    "a target without a slash": (with_request_line(b"GET index.html HTTP/1.1"), Refused()),
    "a target with a space": (with_request_line(b"GET /a b HTTP/1.1"), Refused()),
    "a target with a fragment": (with_request_line(b"GET /a#b HTTP/1.1"), Refused()),
    "a target with a NUL": (with_request_line(b"GET /a\x00b HTTP/1.1"), Refused()),
    "a target with a tab": (with_request_line(b"GET /a\tb HTTP/1.1"), Refused()),
    "a target with a DEL": (with_request_line(b"GET /a\x7fb HTTP/1.1"), Refused()),
    "a target with a bare CR": (with_request_line(b"GET /a\rb HTTP/1.1"), Refused()),
    "a target with eight-bit bytes": (with_request_line(b"GET /\xc3\xa4 HTTP/1.1"), Refused()),
    "a target with escapes": (
        with_request_line(b"GET /%c3%a4?%20 HTTP/1.1"), Passed(target="/%c3%a4?%20")),
    "a target with a lone percent sign": (
        with_request_line(b"GET /% HTTP/1.1"), Either(Passed(target="/%"))),
    "an absolute target": (
        with_request_line(b"GET http://b.example/x?y HTTP/1.1"),
        Passed(target="/x?y", host="b.example")),
    "an absolute target in capitals": (
        with_request_line(b"GET HTTP://b.example/x HTTP/1.1"),
        Passed(target="/x", host="b.example")),
    "an absolute target without a path": (
        with_request_line(b"GET http://b.example HTTP/1.1"), Passed(target="/", host="b.example")),
    "an absolute target with a port": (
        with_request_line(b"GET http://b.example:81/x HTTP/1.1"),
        Passed(target="/x", host="b.example:81")),
    "an absolute target without a host": (
        with_request_line(b"GET http:///x HTTP/1.1"), Refused()),
    "an absolute target of a scheme alone": (with_request_line(b"GET http:// HTTP/1.1"), Refused()),
    "an absolute target with one slash": (with_request_line(b"GET http:/x HTTP/1.1"), Refused()),
    "an absolute target with user information": (
        with_request_line(b"GET http://u:p@b.example/ HTTP/1.1"), Refused()),
    "an absolute target with a malformed port": (
        with_request_line(b"GET http://b.example:x/ HTTP/1.1"), Refused()),
    "an absolute target with a fragment": (
        with_request_line(b"GET http://b.example/#f HTTP/1.1"), Refused()),
    "an absolute target of another scheme": (
        with_request_line(b"GET ftp://b.example/ HTTP/1.1"), Refused((400, 404))),
    "an absolute target without a Host field": (
        b"GET http://b.example/ HTTP/1.1\r\n\r\n", Either(Passed(host="b.example"))),
    "the asterisk with OPTIONS": (
        with_request_line(b"OPTIONS * HTTP/1.1"), Either(Passed(target="*"))),
    "the asterisk with GET": (with_request_line(b"GET * HTTP/1.1"), Refused((400, 404))),
    "the authority form with GET": (with_request_line(b"GET b.example:80 HTTP/1.1"), Refused()),
    "CONNECT": (with_request_line(b"CONNECT b.example:80 HTTP/1.1"),
                Refused((400, 403, 404, 405, 501))),
    "CONNECT with a path": (with_request_line(b"CONNECT /x HTTP/1.1"),
                            Refused((400, 403, 404, 405, 501))),
    "CONNECT with an empty target": (with_request_line(b"CONNECT  HTTP/1.1"), Refused()),
    # RFC 9112 section 3.2: Host.
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", Refused()),
    "two Hosts that differ": (head(b"Host: b", line=b"GET / HTTP/1.1"), Refused()),
    "two Hosts that agree": (head(b"Host: a", line=b"GET / HTTP/1.1"), Refused()),
    "a Host and an empty one": (head(b"Host:", line=b"GET / HTTP/1.1"), Refused()),
    "an empty Host": (with_host(b""), Either(Passed(host=""))),
    **{f"the malformed Host {h!r}": (with_host(h), Refused())
       for h in (b"a b", b"a/b", b"a@b", b"a?b", b"a#b", b"a\\b", b"a,b", b"<a>", b"[::1",
                 b"[::1]x", b"[zz]", b"a:b", b"a:80:80", b"a:-1", b"a:+1", b"http://a", b"a\tb",
                 b"a%", b"a|b", b"a^b", b"\xe4")},
    "a Host with a port too large": (with_host(b"a:65536"), Refused()),
    **{f"the Host {h!r}": (with_host(h), Passed(host=h.decode()))
       for h in (b"a", b"A.b-c", b"a_b", b"a:80", b"[::1]", b"[::1]:80", b"1.2.3.4", b"a.")},
    "a Host with an empty port": (with_host(b"a:"), Either(Passed())),
    "a Host that differs from the absolute target": (
        with_request_line(b"GET http://b.example/ HTTP/1.1"), Passed(host="b.example")),
    "Host named by Connection": (
        head(b"Connection: host", line=b"GET / HTTP/1.1"), Either(Passed(host="a"))),
    # Hop by hop (RFC 9110 section 7.6.1).
    "a field that Connection names": (
        head(b"Connection: x-a", b"X-A: 1", b"X-B: 2", line=b"GET / HTTP/1.1"),
        Passed(has=(("x-b", "2"),), lacks=("x-a", "connection"))),
    "fields that several Connections name": (
        head(b"Connection: x-a", b"Connection: X-B,x-c", b"x-a: 1", b"x-b: 1", b"x-c: 1",
             line=b"GET / HTTP/1.1"), Either(Passed(lacks=("x-a", "x-b", "x-c")))),
    "Keep-Alive": (head(b"Keep-Alive: timeout=5", line=b"GET / HTTP/1.1"),
                   Passed(lacks=("keep-alive",))),
    "Proxy-Connection": (head(b"Proxy-Connection: keep-alive", line=b"GET / HTTP/1.1"),
                         Passed(lacks=("proxy-connection",))),
    "TE": (head(b"TE: gzip", line=b"GET / HTTP/1.1"), Passed(lacks=("te",))),
    "TE with trailers": (head(b"TE: trailers, gzip", line=b"GET / HTTP/1.1"), Passed()),
    "Upgrade without Connection": (
        head(b"Upgrade: websocket", line=b"GET / HTTP/1.1"),
        Either(Passed(lacks=("upgrade",)), (400, 403))),
    "Connection naming content-length": (
        head(b"Connection: content-length", b"Content-Length: 5") + b"hello", Either(HELLO)),
    "Connection naming transfer-encoding": (
        head(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked")
        + b"5\r\nhello\r\n0\r\n\r\n", Either(HELLO)),
    # Limits.
    "a head over the limit": (with_line(b"x: " + b"a" * 100_000), LARGE),
    "a request line over the limit": (
        with_request_line(b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), LARGE),
    "a field name over the limit": (with_line(b"a" * 100_000 + b": x"), LARGE),
    "a head without an end": (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 200_000, LARGE),
    "too many fields": (
        head(*[b"x-%d: 1" % i for i in range(200)], line=b"GET / HTTP/1.1"), LARGE),
    "many fields": (head(*[b"x-%d: 1" % i for i in range(80)], line=b"GET / HTTP/1.1"), Passed()),
    # Bodies where they are unusual.
    "a GET with a body": (
        head(b"Content-Length: 5", line=b"GET / HTTP/1.1") + b"hello", HELLO),
    "a DELETE with a chunked body": (
        head(b"Transfer-Encoding: chunked", line=b"DELETE / HTTP/1.1")
        + b"5\r\nhello\r\n0\r\n\r\n", HELLO),
    "a POST without a length": (head(), Passed(body=b"")),
    "a body that looks like a request": (
        with_length(b"%d" % len(SMUGGLED), SMUGGLED), Passed(body=SMUGGLED)),
    "a chunk that looks like a request": (
        with_chunks(b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        Passed(body=SMUGGLED)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request(site, name):
    """A request is refused or forwarded as its row says."""
    data, verdict = REQUESTS[name]
    verdict.check(exchange(site, data))


@pytest.mark.parametrize("name", ["a content-length", "one chunk", "trailers", "an absolute target",
                                  "a chunk extension with a value",
                                  "junk between a chunk and its CRLF",
                                  "a bare LF in a value", "two content-lengths that differ"])
def test_request_in_every_split(site, name):
    """Where a request is cut changes nothing."""
    data, verdict = REQUESTS[name]
    for cut in range(1, len(data)):
        before = len(site.upstream.requests)
        with Connection(site.port, timeout=5) as connection:
            connection.send(data[:cut])
            # A segment of its own: the proxy has taken the first piece when the kernel says so.
            _drained(connection)
            connection.send(data[cut:])
            try:
                response = connection.read_response()
                responses = [response]
            except ConnectionEnded:
                responses = []
            closed = not responses or responses[0].status >= 300
        verdict.check(Outcome(responses, closed, site.upstream.requests[before:]))


def _drained(connection):
    """Waits until the peer's kernel has acknowledged all; reading follows at once on loopback."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        unsent = struct.unpack("i", fcntl.ioctl(connection.socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        if unsent == 0:
            return


@pytest.mark.parametrize("name", ["a content-length", "several chunks", "trailers", "no Host",
                                  "a negative chunk size"])
def test_request_byte_by_byte(site, name):
    """A request may arrive one byte at a time."""
    data, verdict = REQUESTS[name]
    before = len(site.upstream.requests)
    with Connection(site.port, timeout=10) as connection:
        for index in range(len(data)):
            connection.send(data[index:index + 1])
            _drained(connection)
        try:
            responses = [connection.read_response()]
        except ConnectionEnded:
            responses = []
    closed = not responses or responses[0].status >= 300
    verdict.check(Outcome(responses, closed, site.upstream.requests[before:]))


# --- incomplete requests: the end of the connection is not the end of the message ---

INCOMPLETE = {
    "within the request line": b"GET / HT",
    "within the head": b"GET / HTTP/1.1\r\nHost: a\r\nx: ",
    "before the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "within a body of a known length": with_length(b"10", b"hello"),
    "within a chunk size": with_chunks(b"5"),
    "within a chunk": with_chunks(b"5\r\nhel"),
    "before a chunk's CRLF": with_chunks(b"5\r\nhello"),
    "before the last chunk": with_chunks(b"5\r\nhello\r\n"),
    "within the last chunk": with_chunks(b"5\r\nhello\r\n0\r\n"),
    "within the trailers": with_chunks(b"5\r\nhello\r\n0\r\nx: 1\r\n"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_request(site, name):
    """A client that half-closes too early is never taken for complete."""
    outcome = exchange(site, INCOMPLETE[name], half_close=True)
    assert all(r.status in (400, 408) for r in outcome.responses), outcome
    assert not [r for r in outcome.forwarded if r.complete], outcome


# --- several requests on one connection ---


def _converse(site, data, methods):
    """Sends everything at once and reads an answer for each method; returns (statuses, targets)."""
    before = len(site.upstream.requests)
    statuses = []
    with Connection(site.port, timeout=5) as connection:
        connection.send(data)
        for method in methods:
            try:
                statuses.append(connection.read_response(method).status)
            except ConnectionEnded:
                statuses.append(None)
                break
    return statuses, [r.target for r in site.upstream.requests[before:] if r.complete]


def test_pipelined_requests_are_answered_in_order(site):
    """Fifty requests in one segment."""
    data = b"".join(request_bytes(target=f"/{n}") for n in range(50))
    statuses, targets = _converse(site, data, ["GET"] * 50)
    assert statuses == [200] * 50 and targets == [f"/{n}" for n in range(50)]


def test_pipelined_bodies_end_where_they_end(site):
    """Bodies of both framings between requests."""
    data = (with_length(b"5") + request_bytes(target="/1") + with_chunks(b"5\r\nhello\r\n0\r\n\r\n")
            + request_bytes("HEAD", "/2") + request_bytes(target="/3"))
    statuses, targets = _converse(site, data, ["POST", "GET", "POST", "HEAD", "GET"])
    assert statuses == [200] * 5 and targets == ["/", "/1", "/", "/2", "/3"]


def test_a_good_request_before_a_bad_one_is_answered(site):
    """The first is served, the second refused, the third never seen."""
    data = request_bytes(target="/good") + b"BAD LINE\r\n\r\n" + SMUGGLED
    statuses, targets = _converse(site, data, ["GET", "GET", "GET"])
    assert statuses[0] == 200 and statuses[1] in (400, None) and targets == ["/good"]


def test_bytes_behind_a_body_are_not_a_request(site):
    """What follows a body is parsed from its start."""
    statuses, targets = _converse(site, with_length(b"5", b"helloXX") + SMUGGLED, ["POST", "GET"])
    assert statuses[0] == 200 and statuses[1] in (400, None)
    assert "/smuggled" not in targets


def test_nothing_is_taken_after_connection_close(site):
    """A request behind one that says close is not served."""
    data = request_bytes(target="/last", headers={"connection": "close"}) + SMUGGLED
    statuses, targets = _converse(site, data, ["GET", "GET"])
    assert statuses == [200, None] and targets == ["/last"]


def test_nothing_is_taken_after_a_refused_request(site):
    """A request behind a malformed one is not served."""
    data = head(b"Content-Length: x") + SMUGGLED
    statuses, targets = _converse(site, data, ["POST", "GET"])
    assert statuses[0] in (400, None) and not targets


# --- HTTP/1.0 clients ---

OLD_REQUESTS = {
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Passed()),
    "HTTP/1.0 with a body": (
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", HELLO),
    "HTTP/1.0 with chunked": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    "HTTP/1.0 with two Hosts": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refused()),
}


@pytest.mark.parametrize("name", OLD_REQUESTS)
def test_request_of_http_10(site, name):
    """HTTP/1.0 where it is accepted."""
    data, verdict = OLD_REQUESTS[name]
    verdict.check(exchange(site, data, port=site.old_port))


def test_http_10_is_refused_by_default(site):
    """As Envoy: 426."""
    Refused((426,)).check(exchange(site, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"))


# --- responses ---

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"


@dataclass
class Whole:
    """The client gets a complete response."""

    body: bytes = b"hello"
    status: int = 200
    lacks: tuple = ()

    def check(self, response, _):
        assert response is not None, "no complete response"
        assert (response.status, response.body) == (self.status, self.body), response
        for name in self.lacks:
            assert not response.values(name), response


@dataclass
class Broken:
    """The client gets 502 or 503, or a response that visibly ends too early; never a whole one."""

    statuses: tuple = (502, 503)

    def check(self, response, _):
        assert response is None or response.status in self.statuses, response


@dataclass
class WholeOrBroken:
    """The choice is the proxy's: whole as told, or broken."""

    whole: Whole

    def check(self, response, connection):
        if response is not None and response.status not in Broken.statuses:
            self.whole.check(response, connection)


def line(data):
    """A response with one more raw field line."""
    return OK + b"Content-Length: 5\r\n" + data + b"\r\n\r\nhello"


def status(data):
    """A response with a raw status line."""
    return data + b"\r\nContent-Length: 5\r\n\r\nhello"


def chunks(data):
    """A chunked response with a raw body."""
    return CHUNKED + data


FIN = "fin"
RESPONSES = {
    "a length": (LENGTH + b"hello", "keep", Whole()),
    "chunks": (chunks(b"5\r\nhello\r\n0\r\n\r\n"), "keep", Whole()),
    "the end of the connection as the end": (OK + b"\r\nhello", FIN, Whole()),
    "a reset as the end": (OK + b"\r\nhello", "rst", Broken()),
    "a length cut short by FIN": (LENGTH + b"hel", FIN, Broken()),
    "a length cut short by RST": (LENGTH + b"hel", "rst", Broken()),
    "a length with no body at all": (LENGTH, FIN, Broken()),
    "chunks cut short within a chunk": (chunks(b"5\r\nhel"), FIN, Broken()),
    "chunks cut short after a chunk": (chunks(b"5\r\nhello\r\n"), FIN, Broken()),
    "chunks cut short within the last chunk": (chunks(b"5\r\nhello\r\n0\r\n"), FIN, Broken()),
    "chunks cut short within the trailers": (chunks(b"5\r\nhello\r\n0\r\nx: "), FIN, Broken()),
    "no answer but FIN": (b"", FIN, Broken()),
    "no answer but RST": (b"", "rst", Broken()),
    "half a status line": (b"HTTP/1.1 2", FIN, Broken()),
    "half a head": (OK + b"Content-Le", FIN, Broken()),
    "a signed length": (OK + b"Content-Length: +5\r\n\r\nhello", "keep", Broken()),
    "a negative length": (OK + b"Content-Length: -5\r\n\r\nhello", "keep", Broken()),
    "a hexadecimal length": (OK + b"Content-Length: 0x5\r\n\r\nhello", "keep", Broken()),
    "an empty length": (OK + b"Content-Length:\r\n\r\nhello", FIN, Broken()),
    "a length of letters": (OK + b"Content-Length: five\r\n\r\nhello", "keep", Broken()),
    "a length over 64 bits": (
        OK + b"Content-Length: 18446744073709551621\r\n\r\nhello", FIN, Broken()),
    "two lengths that differ": (
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "keep", Broken()),
    "two lengths that agree": (
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "keep", WholeOrBroken(Whole())),
    "a list of lengths that differ": (
        OK + b"Content-Length: 5, 6\r\n\r\nhello", "keep", Broken()),
    "a list of lengths that agree": (
        OK + b"Content-Length: 5, 5\r\n\r\nhello", "keep", WholeOrBroken(Whole())),
    "a length and chunked": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "keep", WholeOrBroken(Whole(lacks=("content-length",)))),
    "an unknown coding": (OK + b"Transfer-Encoding: x\r\n\r\nhello", FIN, Broken()),
    "chunked twice": (
        OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", FIN, Broken()),
    "chunked not last": (OK + b"Transfer-Encoding: chunked, x\r\n\r\nhello", FIN, Broken()),
    "chunked in two fields": (
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", FIN,
        Broken()),
    "chunked with a space before the colon": (
        OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", FIN, Broken()),
    "a malformed chunk size": (chunks(b"zz\r\n"), "keep", Broken()),
    "a negative chunk size": (chunks(b"-5\r\nhello\r\n0\r\n\r\n"), "keep", Broken()),
    "a chunk size with 0x": (chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), "keep", Broken()),
    "a chunk size over 64 bits": (
        chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), "keep", Broken()),
    "a chunk size with a bare LF": (chunks(b"5\nhello\r\n0\r\n\r\n"), "keep", Broken()),
    "a chunk without its CRLF": (chunks(b"5\r\nhello0\r\n\r\n"), "keep", Broken()),
    "junk between a chunk and its CRLF": (
        chunks(b"5\r\nhelloXX\r\n0\r\n\r\n"), "keep", Broken()),
    "a chunk extension": (chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n"), "keep", Whole()),
    "a chunk extension with a bare LF": (
        chunks(b"5;a\nhello\r\n0\r\n\r\n"), "keep", Broken()),
    "chunk extensions without an end": (chunks(b"5;" + b"a" * 300_000), "keep", Broken()),
    "trailers": (chunks(b"5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"), "keep", Whole()),
    "a malformed trailer": (chunks(b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), "keep", Broken()),
    "trailers beyond their limit": (
        chunks(b"5\r\nhello\r\n0\r\nx: " + b"a" * 300_000 + b"\r\n\r\n"), "keep", Broken()),
    "bare LFs in the head": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "keep", Broken()),
    "a bare LF in a value": (line(b"x: a\nb: c"), "keep", Broken()),
    "a bare CR in a value": (line(b"x: a\rb"), "keep", Broken()),
    "a NUL in a value": (line(b"x: a\x00b"), "keep", Broken()),
    "a control byte in a value": (line(b"x: a\x01b"), "keep", Broken()),
    "a space before a colon": (line(b"x : a"), "keep", Broken()),
    "an empty name": (line(b": a"), "keep", Broken()),
    "a name with a bracket": (line(b"x(y: a"), "keep", Broken()),
    "a field without a colon": (line(b"nonsense"), "keep", Broken()),
    "a folded line": (line(b"x: a\r\n b"), "keep", WholeOrBroken(Whole())),
    "eight-bit bytes in a value": (line(b"x: \xe4"), "keep", Whole()),
    "a status of two digits": (status(b"HTTP/1.1 20 OK"), "keep", Broken()),
    "a status of four digits": (status(b"HTTP/1.1 2000 OK"), "keep", Broken()),
    "a status of letters": (status(b"HTTP/1.1 abc OK"), "keep", Broken()),
    "a negative status": (status(b"HTTP/1.1 -20 OK"), "keep", Broken()),
    "a status of zero": (status(b"HTTP/1.1 000 OK"), "keep", Broken()),
    "a status below 100": (status(b"HTTP/1.1 099 OK"), "keep", Broken()),
    "a status of 600": (status(b"HTTP/1.1 600 Odd"), "keep", WholeOrBroken(Whole(status=600))),
    "no reason": (status(b"HTTP/1.1 200 "), "keep", Whole()),
    "no reason and no space": (status(b"HTTP/1.1 200"), "keep", WholeOrBroken(Whole())),
    "a reason with a NUL": (status(b"HTTP/1.1 200 O\x00K"), "keep", WholeOrBroken(Whole())),
    "a reason with a bare CR": (status(b"HTTP/1.1 200 O\rK"), "keep", Broken()),
    "two spaces before the status": (status(b"HTTP/1.1  200 OK"), "keep", Broken()),
    "HTTP/1.0": (status(b"HTTP/1.0 200 OK"), FIN, Whole()),
    "HTTP/1.0 with chunked": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", FIN,
        WholeOrBroken(Whole())),
    "HTTP/2.0": (status(b"HTTP/2.0 200 OK"), "keep", Broken()),
    "HTTP/1.2": (status(b"HTTP/1.2 200 OK"), "keep", WholeOrBroken(Whole())),
    "another protocol": (b"SSH-2.0-x\r\n\r\n", "keep", Broken()),
    "garbage": (b"\x00\x01\x02\x03\xff\xfe\r\n\r\n", "keep", Broken()),
    "garbage without an end": (b"x" * 300_000, "keep", Broken()),
    "a head beyond its limit": (
        OK + b"x: " + b"a" * 300_000 + b"\r\nContent-Length: 5\r\n\r\nhello", "keep", Broken()),
    "fields beyond their number": (
        OK + b"".join(b"x-%d: 1\r\n" % i for i in range(3000)) + b"Content-Length: 5\r\n\r\nhello",
        "keep", Broken()),
    "a 204": (b"HTTP/1.1 204 No Content\r\n\r\n", "keep", Whole(b"", 204)),
    "a 304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "keep", Whole(b"", 304)),
    "a 100 before the answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"hello", "keep",
                                Whole()),
    "several 1xx before the answer": (
        b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + LENGTH + b"hello", "keep",
        Whole()),
    "a 1xx and then the end": (b"HTTP/1.1 100 Continue\r\n\r\n", FIN, Broken()),
    "a 1xx with a length": (
        b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n" + LENGTH + b"hello", "keep", WholeOrBroken(Whole())),
    "a 101 that nobody asked for": (
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "keep", Broken()),
    "fields of one connection": (
        OK + b"Connection: keep-alive, x-a\r\nKeep-Alive: timeout=5\r\nx-a: 1\r\n"
        b"Proxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", "keep",
        Whole(lacks=("keep-alive", "x-a", "proxy-connection", "upgrade"))),
}


def ask(site, data, then, method="GET"):
    """One request whose answer is scripted; returns the response, or None for a broken one."""
    site.upstream.behaviour = raw(data, then=then)
    try:
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(method, "/scripted"))
            try:
                return connection.read_response(method)
            except ConnectionEnded:
                return None
    finally:
        site.upstream.behaviour = reply(200, b"ok")


@pytest.mark.parametrize("name", RESPONSES)
def test_response(site, name):
    """A response reaches the client whole, or visibly broken, as its row says."""
    data, then, verdict = RESPONSES[name]
    verdict.check(ask(site, data, then), None)
    with Connection(site.port, timeout=5) as connection:
        connection.send(request_bytes(target="/next"))
        following = connection.read_response()
    assert (following.status, following.body) == (200, b"ok"), "the next answer is out of step"


# Bytes behind a complete response: the connection is out of step and must not be used again.
LEFTOVERS = {
    "a second response": (LENGTH + b"hello" + POISON, "GET", b"hello"),
    "a second response behind chunks": (
        chunks(b"5\r\nhello\r\n0\r\n\r\n") + POISON, "GET", b"hello"),
    "a second response behind a 204": (b"HTTP/1.1 204 N\r\n\r\n" + POISON, "GET", b""),
    "a body behind a 204 with a length": (
        b"HTTP/1.1 204 N\r\nContent-Length: %d\r\n\r\n" % len(POISON) + POISON, "GET", b""),
    "a body behind a 304": (
        b"HTTP/1.1 304 N\r\nContent-Length: %d\r\n\r\n" % len(POISON) + POISON, "GET", b""),
    "a body behind HEAD": (
        OK + b"Content-Length: %d\r\n\r\n" % len(POISON) + POISON, "HEAD", b""),
    "more bytes than the length": (LENGTH + b"helloXXX", "GET", b"hello"),
}


@pytest.mark.parametrize("name", LEFTOVERS)
def test_leftover_bytes_are_never_an_answer(site, name):
    """What an upstream sends beyond its answer reaches no other request."""
    data, method, body = LEFTOVERS[name]
    response = ask(site, data, "keep", method)
    assert response is None or response.status >= 500 or response.body == body, response
    for _ in range(3):
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(target="/next"))
            following = connection.read_response()
        assert following.body == b"ok", following


def test_an_unsolicited_answer_on_an_idle_connection_is_discarded(site):
    """An upstream that speaks first poisons nobody."""
    response = ask(site, LENGTH + b"hello", "keep")
    assert response.body == b"hello"
    for link in list(site.upstream.links):
        if not link.ended and not link.closed:
            try:
                link.socket.sendall(POISON)
            except OSError:
                pass
    for _ in range(3):
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes(target="/next"))
            following = connection.read_response()
        assert following.body != b"POISON", following


def test_an_answer_to_head_has_no_body(site):
    """The length is told, the body is not there."""
    response = ask(site, LENGTH, "keep", "HEAD")
    assert response.status == 200 and response.value("content-length") == "5"


def test_a_chunked_answer_to_http_10_is_not_chunked(site):
    """An HTTP/1.0 client gets bytes until the end of the connection."""
    site.upstream.behaviour = raw(chunks(b"5\r\nhello\r\n0\r\n\r\n"))
    try:
        with Connection(site.old_port, timeout=5) as connection:
            connection.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            response = connection.read_response()
    finally:
        site.upstream.behaviour = reply(200, b"ok")
    assert response.framing in ("close", "length") and response.body == b"hello"


def test_every_response_in_pieces(site):
    """Where a response is cut changes nothing."""
    data = chunks(b"5;x=y\r\nhello\r\n0\r\nx-t: 1\r\n\r\n")
    for cut in range(1, len(data)):
        site.upstream.behaviour = lambda e, cut=cut: [e.send(data[:cut]), e.send(data[cut:])]
        with Connection(site.port, timeout=5) as connection:
            connection.send(request_bytes())
            assert connection.read_response().body == b"hello", cut
    site.upstream.behaviour = reply(200, b"ok")


def test_a_flood_of_informational_answers_is_bounded(site):
    """Ten thousand 103s harm nobody."""
    response = ask(site, b"HTTP/1.1 103 Early\r\n\r\n" * 10_000 + LENGTH + b"hello", "keep")
    assert response is None or response.status in (200, 502, 503)
    assert site.proxy.alive()
