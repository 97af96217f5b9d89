"""An HTTP/2 peer by the frame: what it sends is the test's choice, right or wrong."""

import contextlib
import select
import socket
import struct
import threading
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ENHANCE_YOUR_CALM = 11


class Frame:
    """One frame that was received."""

    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.headers = None

    @property
    def code(self):
        """The error code of RST_STREAM and GOAWAY."""
        start = 0 if self.kind == RST_STREAM else 4
        return struct.unpack(">I", self.payload[start:start + 4])[0]

    @property
    def ends_stream(self):
        """Whether the stream ends with it."""
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def frame(kind, flags=0, stream=0, payload=b""):
    """A frame's bytes."""
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


class Peer:
    """One connection; `sock` is connected, or accepted."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.settings = {}

    @classmethod
    def client(cls, port, settings=(), timeout=10):
        """Connects, and says what a client says first."""
        sock = socket.create_connection(("127.0.0.1", port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = cls(sock)
        peer.send(PREFACE + cls.settings_frame(settings))
        return peer

    @staticmethod
    def settings_frame(settings=()):
        """SETTINGS with these (id, value) pairs."""
        return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *s) for s in settings))

    def send(self, data):
        """Sends bytes as they are."""
        self.sock.sendall(data)

    def headers(self, stream, fields=(), method="GET", path="/", end=True, host="host"):
        """A request's HEADERS."""
        head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", host)]
        return self.section(stream, [*head, *fields], end)

    def section(self, stream, fields, end=True):
        """HEADERS with exactly these fields, and CONTINUATION where one frame does not hold them."""
        block = self.encoder.encode(fields, huffman=False)
        first, *others = [block[place:place + 16384] for place in range(0, len(block), 16384)] or [b""]
        flags = (END_STREAM if end else 0) | (0 if others else END_HEADERS)
        data = frame(HEADERS, flags, stream, first)
        for number, piece in enumerate(others, 1):
            data += frame(CONTINUATION, END_HEADERS if number == len(others) else 0, stream, piece)
        return data

    def read(self):
        """The next frame; None at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + self._length():
            try:
                data = self.sock.recv(262144)
            except (ConnectionResetError, BrokenPipeError):
                return None
            if not data:
                return None
            self.buffer += data
        length = self._length()
        head, payload = self.buffer[:9], self.buffer[9:9 + length]
        self.buffer = self.buffer[9 + length:]
        found = Frame(head[3], head[4], struct.unpack(">I", head[5:9])[0] & 0x7FFFFFFF, payload)
        if found.kind == HEADERS:
            block = payload[5:] if found.flags & 0x20 else payload
            found.headers = dict(self.decoder.decode(block))
        if found.kind == SETTINGS and not found.flags & ACK:
            for place in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[place:place + 6])
                self.settings[key] = value
            # A peer that has gone hears no more, but what it said last can still be read.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                self.send(frame(SETTINGS, ACK))
        return found

    def _length(self):
        return int.from_bytes(self.buffer[:3], "big")

    def until(self, wanted):
        """Reads until a frame for which `wanted` is true; it, or None at the end."""
        while (found := self.read()) is not None:
            if wanted(found):
                return found
        return None

    def response(self, stream=1):
        """(headers, body, trailers) of a stream that ends in order."""
        headers, body, trailers = None, b"", None
        while (found := self.read()) is not None:
            if found.stream != stream:
                continue
            if found.kind == RST_STREAM:
                raise AssertionError(f"reset with {found.code} after {headers} {body!r}")
            if found.kind == HEADERS and headers is None:
                if found.headers[":status"].startswith("1"):
                    continue
                headers = found.headers
            elif found.kind == HEADERS:
                trailers = found.headers
            elif found.kind == DATA:
                body += found.payload
                if found.payload:
                    step = struct.pack(">I", len(found.payload))
                    self.send(frame(WINDOW_UPDATE, payload=step))
                    if not found.ends_stream:
                        self.send(frame(WINDOW_UPDATE, stream=stream, payload=step))
            if found.ends_stream:
                return headers, body, trailers
        raise AssertionError(f"the connection ended after {headers} {body!r}")

    def close(self):
        """Ends the connection."""
        self.sock.close()


def flood(peer, make, limit=30_000, seconds=20):
    """Sends `make(n)` until the peer ends the connection, or often enough; the peer's GOAWAY."""
    sent = 0
    deadline = time.monotonic() + seconds
    peer.sock.setblocking(False)
    pending = b""
    try:
        while sent < limit and time.monotonic() < deadline:
            if not pending:
                pending = make(sent)
                sent += 1
            try:
                pending = pending[peer.sock.send(pending):]
            except BlockingIOError:
                select.select([], [peer.sock], [], max(0, deadline - time.monotonic()))
            except (ConnectionResetError, BrokenPipeError):
                break
    finally:
        peer.sock.setblocking(True)
        peer.sock.settimeout(5)
    return peer.until(lambda f: f.kind == GOAWAY)


class Server:
    """An HTTP/2 upstream; `behaviour(peer, request)` is called for each whole request."""

    def __init__(self, behaviour=None, settings=(), on_head=None, context=None):
        # The server's end of TLS, where there is one.
        self.context = context
        self.behaviour = behaviour or (lambda peer, request: peer.answer(request.stream))
        self.settings = settings
        self.on_head = on_head
        self.requests, self.peers = [], []
        self.resets = []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            peer = ServerPeer(sock)
            self.peers.append(peer)
            while len(peer.buffer) < len(PREFACE):
                data = sock.recv(65536)
                if not data:
                    return
                peer.buffer += data
            peer.buffer = peer.buffer[len(PREFACE):]
            peer.send(Peer.settings_frame(self.settings))
            open_ = {}
            while (found := peer.read()) is not None:
                self._take(peer, found, open_)
        except OSError:
            return

    def _take(self, peer, found, open_):
        if found.kind == RST_STREAM:
            self.resets.append((found.stream, found.code))
        if found.kind == HEADERS and found.stream not in open_:
            open_[found.stream] = Request(found.stream, found.headers, peer)
            self.requests.append(open_[found.stream])
            if self.on_head:
                self.on_head(peer, open_[found.stream])
        elif found.kind == HEADERS:
            open_[found.stream].trailers = found.headers
        elif found.kind == DATA and found.stream in open_:
            open_[found.stream].body += found.payload
            if found.payload:
                step = struct.pack(">I", len(found.payload))
                peer.send(frame(WINDOW_UPDATE, payload=step)
                          + frame(WINDOW_UPDATE, stream=found.stream, payload=step))
        elif found.kind == PING and not found.flags & ACK:
            peer.send(frame(PING, ACK, payload=found.payload))
        if found.ends_stream and found.stream in open_:
            self.behaviour(peer, open_[found.stream])

    def stop(self):
        """Ends all connections."""
        self.socket.close()
        for peer in self.peers:
            peer.close()


class Request:
    """One request as the upstream saw it."""

    def __init__(self, stream, headers, peer):
        self.stream, self.headers, self.peer = stream, headers, peer
        self.body, self.trailers = b"", None


class ServerPeer(Peer):
    """The upstream's end of one connection."""

    def answer(self, stream, status=200, body=b"", fields=(), trailers=None):
        """A whole answer."""
        fields = [(":status", str(status)), *fields]
        if not body and trailers is None:
            return self.send(self.section(stream, fields))
        data = self.section(stream, fields, end=False)
        for place in range(0, len(body), 16384):
            data += frame(DATA, 0, stream, body[place:place + 16384])
        if trailers is None:
            return self.send(data + frame(DATA, END_STREAM, stream))
        return self.send(data + self.section(stream, trailers))
