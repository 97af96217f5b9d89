"""Answers of an upstream, and what may become of each. A hidden answer says `POISON`."""

from dataclasses import dataclass

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
