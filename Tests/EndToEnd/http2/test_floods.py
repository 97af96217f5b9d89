"""HTTP/2 clients that only make work: each is cut off, and nobody else notices."""

import struct

import pytest

from harness.http2 import (
    CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM,
    WINDOW_UPDATE, Peer, flood, frame)

# What only makes work: (name, what it is counted as, frames by number).
FLOODS = [
    ("ping", "outbound_control_flood",
     lambda p, n: frame(PING, payload=b"12345678")),
    ("settings", "outbound_control_flood",
     lambda p, n: Peer.settings_frame()),
    ("empty data", "inbound_empty_frames_flood",
     lambda p, n: p.headers(1, method="POST", end=False) if n == 0
     else frame(DATA, 0, 1)),
    ("priority", "inbound_priority_frames_flood",
     lambda p, n: frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1))),
    ("window updates", "inbound_window_update_frames_flood",
     lambda p, n: frame(WINDOW_UPDATE, payload=struct.pack(">I", 1))),
    ("rapid reset", "premature_resets_flood",
     lambda p, n: p.headers(1 + 2 * n, path="/hang")
     + frame(RST_STREAM, stream=1 + 2 * n, payload=struct.pack(">I", 8))),
    ("made you reset", "provoked_resets_flood",
     lambda p, n: p.headers(1 + 2 * n, method="POST", end=False, path="/hang")
     + frame(WINDOW_UPDATE, stream=1 + 2 * n, payload=struct.pack(">I", 0x7FFFFFFF))),
    ("continuation", "inbound_continuation_frames_flood",
     lambda p, n: frame(HEADERS, END_STREAM, 1, p.encoder.encode([("a", "b")]))
     if n == 0 else frame(CONTINUATION, 0, 1, p.encoder.encode([("a", "b")]))),
    ("unknown frames", "outbound_control_flood",
     lambda p, n: frame(0x77)),
]


@pytest.mark.parametrize("name,counter,make", FLOODS, ids=[one[0].replace(" ", "-") for one in FLOODS])
def test_floods_end_their_connection_only(run, name, counter, make):
    """The abuser is cut off; memory stays, others are served, the upstream sees little."""
    proxy, port, upstream = run()
    before = proxy.resident_kib()
    other = Peer.client(port)
    peer = Peer.client(port)
    goaway = flood(peer, lambda n: make(peer, n))
    assert goaway.code == ENHANCE_YOUR_CALM
    assert peer.until(lambda f: False) is None
    other.send(other.headers(1))
    assert other.response()[0][":status"] == "200"
    assert proxy.alive() and proxy.resident_kib() - before < 64 * 1024
    assert len(upstream.requests) <= 101
    counted = {key: value for key, value in proxy.stats("http2%5C..*flood").items() if value}
    assert counted == {f"http2.{counter}": 1}
