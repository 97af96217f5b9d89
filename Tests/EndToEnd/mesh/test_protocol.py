"""What a client of the control plane sees on the wire, with grpcio as the client."""

import pathlib
import queue
import struct

import grpc
import pytest

from harness.control import CLUSTER, ENDPOINTS, ROUTES, ads_cluster, routes, to
from harness.http2 import DATA, Peer, frame
from harness.protobuf import field, fields, parse, text
from harness.waiting import settled

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
NODE = field(1, "node-1")


class Stream:
    """One discovery stream of grpcio."""

    def __init__(self, port, method, service=SERVICE):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.requests = queue.Queue()
        self.call = self.channel.stream_stream(service + method)(
            iter(self.requests.get, None), timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.requests.put(None)
        self.channel.close()

    def next(self):
        """The next response, as fields."""
        return parse(next(self.call))


def resident_kib(pid):
    """Resident memory of a process in KiB."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def world(type_url, names=(), nonce="", error=None, node=NODE):
    """A request on a state-of-the-world stream."""
    detail = field(6, field(2, error)) if error else b""
    return (field(2, node) if node else b"") + fields(3, names) + field(4, type_url) \
        + field(5, nonce) + detail


def delta(type_url, names=(), nonce="", known=(), node=NODE):
    """A request on a delta stream."""
    entries = [field(1, name) + field(2, version) for name, version in known]
    return (field(1, node) if node else b"") + field(2, type_url) + fields(3, names) \
        + fields(5, entries) + field(6, nonce)


def test_state_of_the_world(control):
    serving = control(ads_cluster("a"), ads_cluster("b"), routes("r", to("a")))
    with Stream(serving.port, "StreamAggregatedResources") as stream:
        stream.requests.put(world(CLUSTER))
        first = stream.next()
        assert text(first, 4) == CLUSTER
        assert [text(parse(any_), 1) for any_ in first[2]] == [CLUSTER, CLUSTER]
        assert [text(parse(parse(any_)[2][0]), 1) for any_ in first[2]] == ["a", "b"]
        assert text(first, 1) and text(first, 5)
        # The node is said once; acceptance is not answered, a refusal neither, the next type is.
        stream.requests.put(world(CLUSTER, nonce=text(first, 5), node=None))
        stream.requests.put(world(ROUTES, ["r"], node=None))
        second = stream.next()
        assert text(second, 4) == ROUTES
        stream.requests.put(world(ROUTES, ["r"], text(second, 5), "I do not like it", node=None))
        serving.wait_log("node 'node-1'")
        serving.wait_log("RouteConfiguration refused: I do not like it")
        serving.put(ads_cluster("a"), routes("r", to("a"), to("b")))
        third = stream.next()
        assert text(third, 4) == CLUSTER
        # Routes wait until the clusters have been accepted.
        stream.requests.put(world(CLUSTER, nonce=text(third, 5), node=None))
        assert text(stream.next(), 4) == ROUTES
        assert len(third[2]) == 1
        assert text(third, 1) != text(first, 1)


def test_delta(control):
    serving = control(ads_cluster("a"), ads_cluster("b"))
    with Stream(serving.port, "DeltaAggregatedResources") as stream:
        stream.requests.put(delta(CLUSTER))
        first = stream.next()
        known = {text(parse(one), 3): text(parse(one), 1) for one in first[2]}
        assert sorted(known) == ["a", "b"]
        stream.requests.put(delta(CLUSTER, nonce=text(first, 5), node=None))
        stream.requests.put(delta(ENDPOINTS, ["x"], node=None))
        empty = parse(stream.next()[2][0])
        assert text(empty, 3) == "x"
        assert text(parse(parse(empty[2][0])[2][0]), 1) == "x"
    serving.put(ads_cluster("b"), ads_cluster("c"))
    serving.wait_log("has changed")
    with Stream(serving.port, "DeltaAggregatedResources") as stream:
        stream.requests.put(delta(CLUSTER, known=known.items()))
        again = stream.next()
        assert [text(parse(one), 3) for one in again[2]] == ["c"]
        assert again[6] == [b"a"]


def test_versions_are_those_of_the_content(control):
    """A control plane that is started again knows its clients' versions."""
    serving = control(ads_cluster("a"))

    def version():
        with Stream(serving.port, "DeltaAggregatedResources") as stream:
            stream.requests.put(delta(CLUSTER))
            return text(parse(stream.next()[2][0]), 1)

    before = version()
    serving.stop()
    serving.start()
    assert version() == before


def test_hundreds_of_streams(control):
    serving = control(ads_cluster("a"))
    streams = [Stream(serving.port, "StreamAggregatedResources") for _ in range(50)]
    nonces = []
    for stream in streams:
        stream.requests.put(world(CLUSTER))
    for stream in streams:
        nonces.append(text(stream.next(), 5))
    for stream, nonce in zip(streams, nonces):
        stream.requests.put(world(CLUSTER, nonce=nonce))
    serving.wait_log("Cluster acceptance", count=50)
    serving.put(ads_cluster("b"))
    for stream in streams:
        assert text(parse(parse(stream.next()[2][0])[2][0]), 1) == "b"
    for stream in streams:
        stream.__exit__()


@pytest.mark.parametrize("method, request_, code, words", [
    ("StreamAggregatedResources", world(CLUSTER, node=None), grpc.StatusCode.INVALID_ARGUMENT,
     "names no node"),
    ("StreamAggregatedResources", b"\xff", grpc.StatusCode.INVALID_ARGUMENT, "cannot be read"),
    ("DeltaAggregatedResources", b"\xff", grpc.StatusCode.INVALID_ARGUMENT, "cannot be read"),
    ("StreamAggregatedResources", bytes(4 * 1024 * 1024 + 1), grpc.StatusCode.RESOURCE_EXHAUSTED,
     "4194304"),
    ("Nothing", b"", grpc.StatusCode.UNIMPLEMENTED, "no method"),
])
def test_wrong_requests_end_the_stream(control, method, request_, code, words):
    serving = control(ads_cluster("a"))
    with Stream(serving.port, method) as stream:
        stream.requests.put(request_)
        with pytest.raises(grpc.RpcError) as failure:
            stream.next()
        assert failure.value.code() == code
        assert words in failure.value.details()
    # And nothing else.
    with Stream(serving.port, "StreamAggregatedResources") as stream:
        stream.requests.put(world(CLUSTER))
        assert stream.next()


def test_compressed_messages_are_not_supported(control):
    serving = control(ads_cluster("a"))
    channel = grpc.insecure_channel(
        f"127.0.0.1:{serving.port}", compression=grpc.Compression.Gzip)
    call = channel.stream_stream(SERVICE + "StreamAggregatedResources")(
        iter([world(CLUSTER, ["x" * 1000])]), timeout=20)
    with pytest.raises(grpc.RpcError) as failure:
        next(call)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
    channel.close()


@pytest.mark.parametrize("method, fields_, status", [
    ("GET", [], "405"), ("POST", [], "415"),
    ("POST", [("content-type", "application/json")], "415"),
    ("POST", [("content-type", "application/grpc-web")], "415"),
])
def test_what_is_no_grpc_is_answered_in_http(control, method, fields_, status):
    serving = control(ads_cluster("a"))
    peer = Peer.client(serving.port)
    path = SERVICE + "StreamAggregatedResources"
    peer.send(peer.headers(1, fields_, method=method, path=path, end=False))
    head = peer.until(lambda frame: frame.headers and frame.stream == 1)
    assert head.headers[":status"] == status
    assert head.ends_stream
    peer.close()


@pytest.mark.unsanitized("keeps freed memory")
def test_whoever_asks_without_reading_costs_no_memory(control):
    serving = control(*[ads_cluster(f"cluster-{index:04}" + "x" * 200) for index in range(1000)])
    path = SERVICE + "StreamAggregatedResources"
    peer = Peer.client(serving.port)
    peer.send(peer.headers(1, [("content-type", "application/grpc")], method="POST", path=path,
                           end=False))
    before = resident_kib(serving.process.pid)
    # Without a nonce each is a first question, and would be answered with 300 KB.
    message = world(CLUSTER)
    request = b"\0" + struct.pack(">I", len(message)) + message
    for _ in range(500):
        peer.send(frame(DATA, 0, 1, request))
    serving.wait_log("Cluster sent")
    settled(lambda: serving.output().count("Cluster sent"))
    assert resident_kib(serving.process.pid) - before < 40_000
    # Others are served meanwhile.
    with Stream(serving.port, "StreamAggregatedResources") as stream:
        stream.requests.put(world(CLUSTER))
        assert len(stream.next()[2]) == 1000
    peer.close()


def test_streams_of_one_kind(control):
    """The method says which kind a stream is for; another one ends it."""
    port = control(ads_cluster("a")).port
    service = "/envoy.service.cluster.v3.ClusterDiscoveryService/"
    with Stream(port, "StreamClusters", service) as stream:
        stream.requests.put(world(""))
        answer = stream.next()
        assert text(answer, 4) == CLUSTER and len(answer[2]) == 1
        stream.requests.put(world(ROUTES, ["x"]))
        with pytest.raises(grpc.RpcError) as error:
            stream.next()
        assert "RouteConfiguration" in error.value.details()
    with Stream(port, "DeltaClusters", service) as stream:
        stream.requests.put(delta(CLUSTER))
        assert len(stream.next()[2]) == 1
