"""HTTP/2 clients that only make work: each is cut off, and nobody else notices."""

import struct

import pytest

from harness.http2 import (
    CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM,
    WINDOW_UPDATE, Peer, flood, frame)

# What only makes work: (name, frames by number, whether the abuser is told to calm down).
FLOODS = [
    ("ping", lambda p, n: frame(PING, payload=b"12345678")),
    ("settings", lambda p, n: Peer.settings_frame()),
    ("empty data", lambda p, n: p.headers(1, method="POST", end=False) if n == 0
     else frame(DATA, 0, 1)),
    ("priority", lambda p, n: frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1))),
    ("window updates", lambda p, n: frame(WINDOW_UPDATE, payload=struct.pack(">I", 1))),
    ("rapid reset", lambda p, n: p.headers(1 + 2 * n, path="/hang")
     + frame(RST_STREAM, stream=1 + 2 * n, payload=struct.pack(">I", 8))),
    ("made you reset", lambda p, n: p.headers(1 + 2 * n, method="POST", end=False, path="/hang")
     + frame(WINDOW_UPDATE, stream=1 + 2 * n, payload=struct.pack(">I", 0x7FFFFFFF))),
    ("continuation", lambda p, n: frame(HEADERS, END_STREAM, 1, p.encoder.encode([("a", "b")]))
     if n == 0 else frame(CONTINUATION, 0, 1, p.encoder.encode([("a", "b")]))),
    ("unknown frames", lambda p, n: frame(0x77)),
]


@pytest.mark.parametrize("name,make", FLOODS, ids=[one[0].replace(" ", "-") for one in FLOODS])
def test_floods_end_their_connection_only(run, name, make):
    """The abuser is cut off; memory stays, others are served, the upstream sees little."""
    proxy, port, upstream = run()
    before = proxy.resident_kib()
    other = Peer.client(port)
    peer = Peer.client(port)
    goaway = flood(peer, lambda n: make(peer, n))
    assert goaway.code == (1 if name == "continuation" else ENHANCE_YOUR_CALM)
    assert peer.until(lambda f: False) is None
    other.send(other.headers(1))
    assert other.response()[0][":status"] == "200"
    assert proxy.alive() and proxy.resident_kib() - before < 64 * 1024
    assert len(upstream.requests) <= 101
    counted = sum(proxy.stats("http2%5C..*flood").values())
    assert counted == 1 or name == "continuation"
