"""A raw HTTP/1 client: sends exactly the bytes it is given and reads answers strictly."""

import re
import socket
import struct
import time
from dataclasses import dataclass, field

from .waiting import until


class ProtocolError(AssertionError):
    """The peer's bytes are not a well-formed HTTP/1.1 response."""


class ConnectionEnded(AssertionError):
    """The peer closed before the response was complete; `how` is "fin" or "rst"."""

    def __init__(self, how, received):
        super().__init__(f"connection ended ({how}) after {received[:200]!r}")
        self.how = how
        self.received = received


class HeaderFields:
    """Looks into `headers`, a list of names and values."""

    def values(self, name):
        """All values of a header, in order."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def value(self, name):
        """The only value of a header, or None."""
        found = self.values(name)
        if len(found) > 1:
            raise AssertionError(f"{name} is there {len(found)} times")
        return found[0] if found else None


@dataclass
class Response(HeaderFields):
    """One response, as it stood on the wire."""

    version: str
    status: int
    reason: str
    headers: list = field(default_factory=list)
    body: bytes = b""
    trailers: list = field(default_factory=list)
    # "length", "chunked", "close" or "none": how the end of the body was told.
    framing: str = "none"
    # The 1xx responses that came before it.
    informational: list = field(default_factory=list)


_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;.*)?")


def parse_fields(block):
    """Field lines of a head or trailer section; anything out of RFC 9112's grammar raises."""
    fields = []
    for line in block.split(b"\r\n") if block else []:
        match = _FIELD_LINE.fullmatch(line)
        if not match or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", match.group(2)):
            raise ProtocolError(f"malformed field line {line!r}")
        fields.append((match.group(1).decode("latin-1"), match.group(2).decode("latin-1")))
    return fields


class Connection:
    """One client connection."""

    def __init__(self, port, host="127.0.0.1", timeout=10.0, receive_buffer=None, source=None):
        self.timeout = timeout
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address = host
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            address = (host, port)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if not host.startswith("/"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # How the other end knows this one.
        self.local_port = None if host.startswith("/") else self.socket.getsockname()[1]
        self.buffer = b""
        # Set once the peer ended the connection: "fin" or "rst".
        self.ended = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        """Sends all of `data`; a peer that is gone already is noticed when reading."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_in_pieces(self, pieces):
        """Sends each piece in a segment of its own (as far as TCP_NODELAY gives it)."""
        for piece in pieces:
            self.send(piece)

    def half_close(self):
        """Sends FIN; reading goes on."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """Closes with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        """Closes both directions."""
        self.socket.close()

    def _fill(self, deadline):
        """Reads once; False when the peer ended the connection."""
        if self.ended:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer in time; received so far {self.buffer[:200]!r}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            message = f"no answer in time; received so far {self.buffer[:200]!r}"
            raise TimeoutError(message) from None
        except ConnectionResetError:
            self.ended = "rst"
            return False
        if not data:
            self.ended = "fin"
            return False
        self.buffer += data
        return True

    def _until(self, mark, deadline):
        while mark not in self.buffer:
            if not self._fill(deadline):
                raise ConnectionEnded(self.ended, self.buffer)
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def _exactly(self, count, deadline, sink=None):
        pieces, have = [], 0
        while have < count:
            if not self.buffer and not self._fill(deadline):
                raise ConnectionEnded(self.ended, b"".join(pieces))
            take = self.buffer[: count - have]
            self.buffer = self.buffer[len(take) :]
            have += len(take)
            pieces.append(take)
        return b"".join(pieces)

    def read_bytes(self, count, timeout=None):
        """Exactly `count` bytes, whatever they are (after an upgrade)."""
        return self._exactly(count, time.monotonic() + (timeout or self.timeout))

    def read_head(self, timeout=None):
        """The next response's head, without its body."""
        return self._head(time.monotonic() + (timeout or self.timeout))

    def _head(self, deadline):
        block = self._until(b"\r\n\r\n", deadline)
        line, _, rest = block.partition(b"\r\n")
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise ProtocolError(f"malformed status line {line!r}")
        version, status, reason = (g.decode("latin-1") for g in match.groups())
        return Response(version, int(status), reason, parse_fields(rest))

    def read_response(self, method="GET", timeout=None):
        """The next whole response, with the 1xx ones before it."""
        deadline = time.monotonic() + (timeout or self.timeout)
        informational = []
        while True:
            response = self._head(deadline)
            if response.status >= 200 or response.status == 101:
                break
            informational.append(response)
        response.informational = informational
        self._body(response, method, deadline)
        return response

    def _body(self, response, method, deadline):
        lengths = response.values("content-length")
        codings = response.values("transfer-encoding")
        if lengths and codings:
            raise ProtocolError("both content-length and transfer-encoding")
        if len(lengths) > 1:
            raise ProtocolError("several content-lengths")
        if lengths and not lengths[0].isdecimal():
            raise ProtocolError(f"content-length {lengths[0]!r}")
        if response.status in (101, 204) and (lengths or codings):
            if response.status == 101 or codings or lengths[0] != "0":
                raise ProtocolError(f"framing fields in a {response.status}")
        if method == "HEAD" or response.status in (101, 204, 304):
            return
        if codings:
            if [c.lower() for c in codings] != ["chunked"]:
                raise ProtocolError(f"transfer-encoding {codings!r}")
            response.framing = "chunked"
            self._chunks(response, deadline)
        elif lengths:
            response.framing = "length"
            response.body = self._exactly(int(lengths[0]), deadline)
        else:
            response.framing = "close"
            while self._fill(deadline):
                pass
            if self.ended == "rst":
                raise ConnectionEnded("rst", self.buffer)
            response.body, self.buffer = self.buffer, b""

    def _chunks(self, response, deadline):
        pieces = []
        while True:
            line = self._until(b"\r\n", deadline)
            match = _CHUNK_SIZE.fullmatch(line)
            if not match:
                raise ProtocolError(f"malformed chunk size {line!r}")
            size = int(match.group(1), 16)
            if size == 0:
                break
            pieces.append(self._exactly(size, deadline))
            if self._exactly(2, deadline) != b"\r\n":
                raise ProtocolError("no CRLF after a chunk")
        response.body = b"".join(pieces)
        lines = []
        while line := self._until(b"\r\n", deadline):
            lines.append(line)
        response.trailers = parse_fields(b"\r\n".join(lines))

    def read_to_end(self, timeout=None):
        """Everything until the peer ends the connection; returns (bytes, "fin" or "rst")."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while self._fill(deadline):
            pass
        data, self.buffer = self.buffer, b""
        return data, self.ended

    def ends_within(self, timeout):
        """Whether the peer ends the connection in time without a further byte."""
        try:
            data, _ = self.read_to_end(timeout)
        except TimeoutError:
            return False
        return not data

    def is_open(self):
        """Whether the connection looks alive right now; takes what has arrived into the buffer."""
        if self.ended:
            return False
        self.socket.setblocking(False)
        try:
            data = self.socket.recv(65536)
            if not data:
                self.ended = "fin"
            self.buffer += data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = "rst"
        return self.ended is None


def request_bytes(method="GET", target="/", headers=(), body=None, host="test.example",
                  version="HTTP/1.1"):
    """A well-formed request; a body gets a content-length unless the headers frame it."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    fields = list(headers.items() if isinstance(headers, dict) else headers)
    lines += [f"{name}: {value}" for name, value in fields]
    names = {name.lower() for name, _ in fields}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head + (body or b"")


def fetch(port, target="/", method="GET", headers=(), body=None, host="test.example", timeout=10.0,
          address="127.0.0.1"):
    """One request on a connection of its own."""
    with Connection(port, address, timeout) as connection:
        connection.send(request_bytes(method, target, headers, body, host))
        return connection.read_response(method)


def wait_listening(port, host="127.0.0.1", timeout=10.0):
    """Waits until something accepts connections on `port`."""

    def attempt():
        try:
            socket.create_connection((host, port), 1).close()
            return True
        except OSError:
            return False

    until(attempt, timeout, f"a listener on {host}:{port}")
