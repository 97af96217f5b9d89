"""Requests, and what may become of each.

Whatever the verdict, what the upstream receives must be a well-formed request, and nothing that hides
in a message may ever be taken for a message of its own: every hidden one asks for `/smuggled`.
"""

from dataclasses import dataclass

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
    "a chunk size before a space and more": (
        with_chunks(b"5 5\r\nhello\r\n0\r\n\r\n"), Refused()),
    "a chunk size before a space and a letter": (
        with_chunks(b"5 a\r\nhello\r\n0\r\n\r\n"), Refused()),
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

# --- HTTP/1.0 clients ---

OLD_REQUESTS = {
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Passed()),
    "HTTP/1.0 with a body": (
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", HELLO),
    "HTTP/1.0 with chunked": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    "HTTP/1.0 with two Hosts": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refused()),
}
