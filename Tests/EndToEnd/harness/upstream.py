"""Scripted upstreams: every byte and every moment of an answer is the test's choice.

A behaviour is a function of an `Exchange`; it is called for each request when the head (and, unless
it asked for `on_head`, the body) has arrived. What it returns with decides nothing: the connection
goes on to the next request unless the behaviour ended it.
"""

import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from .client import HeaderFields


@dataclass
class Received(HeaderFields):
    """One request as the upstream saw it."""

    method: str
    target: str
    version: str
    headers: list
    raw_head: bytes
    connection: int
    body: bytes = b""
    trailers: list = field(default_factory=list)
    # The body arrived to its end.
    complete: bool = False
    at: float = 0.0


class PeerGone(Exception):
    """The proxy ended the connection; carries "fin" or "rst"."""


class Link:
    """One accepted connection."""

    def __init__(self, sock, index, upstream):
        self.socket = sock
        self.index = index
        self.upstream = upstream
        self.buffer = b""
        # How the proxy ended it ("fin", "rst"), and when; None while it is open.
        self.ended = None
        self.ended_at = None
        # We ended it.
        self.closed = False
        # All that ever arrived.
        self.raw = b""

    def _mark_ended(self, how):
        with self.upstream.changed:
            self.ended, self.ended_at = how, time.monotonic()
            self.upstream.changed.notify_all()

    def fill(self):
        """Reads once; raises PeerGone at the end of the connection."""
        try:
            data = self.socket.recv(262144)
        except (ConnectionResetError, BrokenPipeError):
            self._mark_ended("rst")
            raise PeerGone("rst") from None
        except OSError:
            raise PeerGone("closed") from None
        if not data:
            self._mark_ended("fin")
            raise PeerGone("fin")
        self.buffer += data
        self.raw += data

    def until(self, mark):
        while mark not in self.buffer:
            self.fill()
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def exactly(self, count):
        while len(self.buffer) < count:
            self.fill()
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece


class Exchange:
    """A request and the means to answer it in any way."""

    def __init__(self, link, request, index):
        self.link = link
        self.request = request
        # Counts the upstream's requests from 0, over all its connections.
        self.index = index
        self.upstream = link.upstream
        self.ended = False

    def send(self, data):
        """Sends bytes as they are."""
        try:
            self.link.socket.sendall(data)
        except OSError:
            self.ended = True

    def read_body(self):
        """Reads the request's body to its end."""
        self.link.upstream._read_body(self.link, self.request)

    def fin(self):
        """Ends the connection with FIN, in both directions."""
        self.ended = self.link.closed = True
        try:
            self.link.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.link.socket.close()

    def half_close(self):
        """Sends FIN and keeps reading."""
        self.link.socket.shutdown(socket.SHUT_WR)

    def rst(self):
        """Ends the connection with RST."""
        self.ended = self.link.closed = True
        linger = struct.pack("ii", 1, 0)
        self.link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.link.socket.close()

    def wait(self, seconds):
        """Lets time pass, but not beyond the end of the test."""
        self.upstream.stopping.wait(seconds)

    def echo(self):
        """Sends back whatever comes, as after an upgrade, until the proxy ends the connection."""
        self.ended = True
        while True:
            if self.link.buffer:
                data, self.link.buffer = self.link.buffer, b""
                self.send(data)
            self.link.fill()

    def stall(self):
        """Says nothing more until the proxy ends the connection."""
        self.ended = True
        while True:
            self.link.fill()


def on_head(behaviour):
    """Marks a behaviour that wants to run before the request's body has arrived."""
    behaviour.on_head = True
    return behaviour


def _head(status, headers, reason=None):
    lines = [f"HTTP/1.1 {status} {reason if reason is not None else 'Scripted'}"]
    lines += [f"{n}: {v}" for n, v in (headers.items() if isinstance(headers, dict) else headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def reply(status=200, body=b"hello", headers=(), reason=None):
    """A complete answer with a content-length."""
    fields = list(headers.items() if isinstance(headers, dict) else headers)
    bodiless = status in (204, 304) or status < 200
    if not bodiless:
        fields.append(("content-length", len(body)))

    def behaviour(exchange):
        silent = bodiless or exchange.request.method == "HEAD"
        exchange.send(_head(status, fields, reason) + (b"" if silent else body))

    return behaviour


def chunked(parts=(b"hel", b"lo"), status=200, headers=(), trailers=()):
    """A complete chunked answer, one segment for each part."""
    fields = list(headers.items() if isinstance(headers, dict) else headers)
    fields.append(("transfer-encoding", "chunked"))

    def behaviour(exchange):
        exchange.send(_head(status, fields))
        if exchange.request.method == "HEAD":
            return
        for part in parts:
            exchange.send(b"%x\r\n%s\r\n" % (len(part), part))
        tail = "".join(f"{n}: {v}\r\n" for n, v in trailers).encode("latin-1")
        exchange.send(b"0\r\n" + tail + b"\r\n")

    return behaviour


def raw(*parts, then="keep"):
    """Bytes as they are, then "keep", "fin", "rst" or "stall"."""

    def behaviour(exchange):
        for part in parts:
            exchange.send(part)
        finish(exchange, then)

    return behaviour


def finish(exchange, then):
    """Ends an answer in one of the ways that `raw` names."""
    if then == "fin":
        exchange.fin()
    elif then == "rst":
        exchange.rst()
    elif then == "stall":
        exchange.stall()
    elif then != "keep":
        raise ValueError(then)


def stall():
    """Takes the request and never answers."""
    return lambda exchange: exchange.stall()


def reset():
    """Takes the request and resets the connection."""
    return lambda exchange: exchange.rst()


def hang_up():
    """Takes the request and closes the connection without an answer."""
    return lambda exchange: exchange.fin()


def after(seconds, behaviour):
    """Another behaviour, later."""

    def delayed(exchange):
        exchange.wait(seconds)
        behaviour(exchange)

    return delayed


def sequence(*behaviours):
    """The n-th request gets the n-th behaviour; the last one repeats."""
    return lambda exchange: behaviours[min(exchange.index, len(behaviours) - 1)](exchange)


def echo():
    """Answers with the request's head as the body."""

    def behaviour(exchange):
        reply(200, exchange.request.raw_head, {"content-type": "text/plain"})(exchange)

    return behaviour


class Upstream:
    """A listening socket, a thread for each connection, and a record of all that came."""

    def __init__(self, behaviour=None, address=("127.0.0.1", 0), backlog=512):
        self.behaviour = behaviour or reply()
        # An ssl.SSLContext, where the behaviour brings one: then it speaks TLS.
        self.tls = getattr(behaviour, "tls", None)
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self.requests = []
        self.links = []
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(backlog)
        self.host, self.port = self.listener.getsockname()[:2]
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @staticmethod
    def _start(target, *arguments):
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                link = Link(sock, len(self.links), self)
                self.links.append(link)
                self.changed.notify_all()
            self._start(self._serve, link)

    def _serve(self, link):
        try:
            if self.tls:
                link.socket = self.tls.wrap_socket(link.socket, server_side=True)
        except OSError:
            link.socket.close()
            return
        try:
            while True:
                exchange = Exchange(link, *self._read_head(link))
                behaviour = self.behaviour
                if not getattr(behaviour, "on_head", False):
                    self._read_body(link, exchange.request)
                behaviour(exchange)
                if exchange.ended:
                    return
        except PeerGone:
            pass
        finally:
            if link.ended:
                link.socket.close()

    def _read_head(self, link):
        block = link.until(b"\r\n\r\n")
        line, _, rest = block.partition(b"\r\n")
        parts = (line.decode("latin-1").split(" ") + ["", ""])[:3]
        fields = []
        for field_line in rest.split(b"\r\n") if rest else []:
            name, _, value = field_line.partition(b":")
            fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        request = Received(*parts, fields, block + b"\r\n\r\n", link.index, at=time.monotonic())
        with self.changed:
            index = len(self.requests)
            self.requests.append(request)
            self.changed.notify_all()
        return request, index

    def _read_body(self, link, request):
        if request.complete:
            return
        if re.search("chunked", ",".join(request.values("transfer-encoding")), re.I):
            while size := int(link.until(b"\r\n").split(b";")[0], 16):
                request.body += link.exactly(size)
                link.exactly(2)
            while line := link.until(b"\r\n"):
                name, _, value = line.decode("latin-1").partition(":")
                request.trailers.append((name, value.strip()))
        else:
            length = (request.values("content-length") or ["0"])[0]
            request.body = link.exactly(int(length))
        with self.changed:
            request.complete = True
            self.changed.notify_all()

    def wait_for(self, condition, timeout=5.0, what="the upstream's condition"):
        """Waits until `condition()` holds, looking again whenever something arrived."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(f"waited {timeout} s in vain for {what}")

    def wait_requests(self, count, timeout=5.0):
        """Waits until `count` request heads have arrived."""
        self.wait_for(lambda: len(self.requests) >= count, timeout, f"{count} requests upstream")

    def wait_ended(self, index=0, timeout=5.0):
        """Waits until the proxy ended the connection; returns how ("fin" or "rst")."""
        self.wait_for(
            lambda: len(self.links) > index and self.links[index].ended, timeout,
            f"the end of upstream connection {index}")
        return self.links[index].ended

    def stop(self):
        """Closes the listener and every connection."""
        self.stopping.set()
        for sock in [self.listener] + [link.socket for link in self.links]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def refusing_port():
    """A port that refuses connections: bound, never listening. Returns (socket, port)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


class BlackHole:
    """A port whose connections neither succeed nor fail: its accept queue is full."""

    def __init__(self):
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.host, self.port = self.listener.getsockname()
        self.fillers = []
        # A queue of length 0 still takes one or two; stop when one no longer completes.
        for _ in range(16):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.settimeout(0.2)
            self.fillers.append(filler)
            try:
                filler.connect(("127.0.0.1", self.port))
            except (socket.timeout, BlockingIOError):
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Closes all its sockets."""
        for sock in self.fillers + [self.listener]:
            sock.close()
