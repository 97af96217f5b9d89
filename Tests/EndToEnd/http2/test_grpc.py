"""gRPC as its users meet it: grpcio on both sides of the proxy."""

import concurrent.futures
import threading
import time

import grpc
import pytest

from harness.http2 import DATA, Peer, Server, frame
from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.waiting import until

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
LINE = "%REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %RESPONSE_FLAGS%\n"


def http2_cluster(port):
    """A cluster that speaks HTTP/2."""
    return cluster("up", port, typed_extension_protocol_options={OPTIONS: {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}}}})


class Echo(grpc.GenericRpcHandler):
    """All four kinds of call, over bytes."""

    def __init__(self):
        self.called = threading.Event()
        self.cancelled = threading.Event()

    def service(self, details):
        return {
            "/t.Echo/Unary": grpc.unary_unary_rpc_method_handler(lambda r, c: b"re:" + r),
            "/t.Echo/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t.Echo/Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "/t.Echo/Down": grpc.unary_stream_rpc_method_handler(self.down),
            "/t.Echo/Up": grpc.stream_unary_rpc_method_handler(lambda r, c: b"".join(r)),
            "/t.Echo/Both": grpc.stream_stream_rpc_method_handler(lambda r, c: (b"re:" + m
                                                                              for m in r)),
        }.get(details.method)

    @staticmethod
    def down(request, _):
        """As many messages as asked for."""
        for number in range(int(request)):
            yield b"%d" % number

    @staticmethod
    def fail(_, context):
        """A status with a message."""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")

    def slow(self, _, context):
        """Until the caller gives up."""
        context.add_callback(self.cancelled.set)
        self.called.set()
        self.cancelled.wait(10)
        return b""


@pytest.fixture
def run(proxy_kind):
    """Starts a proxy before a grpcio server; returns (proxy, channel, service)."""
    open_ = []

    def start(routes=None, **manager):
        service = Echo()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        server.add_generic_rpc_handlers((service,))
        upstream, port = server.add_insecure_port("127.0.0.1:0"), free_port()
        server.start()
        proxy = Proxy(proxy_kind)
        proxy.log = proxy.directory / "access.log"
        proxy.start(bootstrap(
            [listener("main", port, routes, access_log=(proxy.log, LINE), **manager)],
            [http2_cluster(upstream)], free_port()))
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        open_.extend([channel.close, proxy.stop, lambda: server.stop(0)])
        return proxy, channel, service

    yield start
    for close in open_:
        close()


def logged(proxy):
    """The first line of the access log, once it is there."""
    until(lambda: proxy.log.exists() and proxy.log.read_text(), 5, "a line in the access log")
    return proxy.log.read_text().splitlines()[0]


def test_all_four_kinds_of_call(run):
    """Unary, and streams in both directions."""
    _, channel, _ = run()
    assert channel.unary_unary("/t.Echo/Unary")(b"a", timeout=10) == b"re:a"
    down = channel.unary_stream("/t.Echo/Down")(b"1000", timeout=20)
    assert list(down) == [b"%d" % n for n in range(1000)]
    up = channel.stream_unary("/t.Echo/Up")(iter([b"x" * 1000] * 500), timeout=20)
    assert up == b"x" * 500_000
    both = channel.stream_stream("/t.Echo/Both")(iter([b"a", b"b", b"c"]), timeout=10)
    assert list(both) == [b"re:a", b"re:b", b"re:c"]


def test_a_status_passes_and_is_logged(run):
    """Trailers-only or not, the caller sees the server's status and message."""
    proxy, channel, _ = run()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.Echo/Fail")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "not today"
    assert logged(proxy) == "/t.Echo/Fail 200 FailedPrecondition -"


def test_a_call_that_is_cancelled_ends_at_the_server(run):
    """The client's cancel reaches the server."""
    _, channel, service = run()
    call = channel.unary_unary("/t.Echo/Slow").future(b"", timeout=20)
    assert service.called.wait(5)
    call.cancel()
    assert service.cancelled.wait(5)


def test_a_deadline_ends_the_call(run):
    """The client's deadline, with and without the proxy's help."""
    _, channel, service = run()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.Echo/Slow")(b"", timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert service.cancelled.wait(5)


def test_the_proxys_own_answers_have_a_status(run):
    """No route is UNIMPLEMENTED, no upstream UNAVAILABLE."""
    _, channel, _ = run(routes=[{"match": {"prefix": "/t.Echo"}, "route": {"cluster": "up"}}])
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/other/Call")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_upstream_that_is_away_is_unavailable(proxy_kind):
    """Trailers-only, with Envoy's text as the message."""
    port = free_port()
    with Proxy(proxy_kind).start(bootstrap(
            [listener("main", port)], [http2_cluster(free_port())], free_port())):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/t.Echo/Unary")(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "reset reason" in caught.value.details()


def test_retries_on_a_grpc_status(proxy_kind):
    """`retry_on: unavailable` looks at the status of a Trailers-Only answer."""
    def answer(peer, request):
        if len(upstream.requests) == 1:
            peer.send(peer.section(request.stream, [
                (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14")]))
        else:
            peer.answer(request.stream, 200, b"\0\0\0\0\2ok", [
                ("content-type", "application/grpc")], [("grpc-status", "0")])

    upstream, port = Server(answer), free_port()
    routes = [{"match": {"prefix": "/"}, "route": {
        "cluster": "up", "retry_policy": {"retry_on": "unavailable"}}}]
    with Proxy(proxy_kind).start(bootstrap(
            [listener("main", port, routes)], [http2_cluster(upstream.port)], free_port())):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary("/t.Echo/Unary")(b"", timeout=10) == b"ok"
    assert len(upstream.requests) == 2
    upstream.stop()


def test_ten_thousand_calls(run):
    """On one connection, a hundred at a time."""
    proxy, channel, _ = run()
    call = channel.unary_unary("/t.Echo/Unary")
    for _ in range(100):
        futures = [call.future(b"%d" % n, timeout=60) for n in range(100)]
        assert [f.result() for f in futures] == [b"re:%d" % n for n in range(100)]
    assert proxy.stat("http.main.downstream_cx_http2_total") == 1
    assert proxy.stat("http.main.downstream_rq_http2_total") == 10_000


def test_the_grpc_timeout_bounds_the_stream(run):
    """`max_stream_duration.grpc_timeout_header_max`."""
    routes = [{"match": {"prefix": "/"}, "route": {
        "cluster": "up", "timeout": "0s",
        "max_stream_duration": {"grpc_timeout_header_max": "0.3s"}}}]
    _, channel, _ = run(routes)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.Echo/Slow")(b"", timeout=8)
    assert caught.value.code() is not grpc.StatusCode.OK


def test_a_body_without_an_end_waits(run):
    """Half a message is no call: the stream stays open until it is reset."""
    proxy, _, _ = run()
    peer = Peer.client(proxy_port(proxy))
    peer.send(peer.headers(1, [("content-type", "application/grpc"), ("te", "trailers")],
                           method="POST", path="/t.Echo/Up", end=False)
              + frame(DATA, 0, 1, b"\0\0"))
    until(lambda: proxy.stat("http2.streams_active") == 1, 5, "the stream to be open")
    peer.close()
    until(lambda: proxy.stat("http2.streams_active") == 0, 5, "the stream to be gone")


def proxy_port(proxy):
    """The port of the proxy's only listener."""
    import yaml
    document = yaml.safe_load((proxy.directory / "bootstrap.yaml").read_text())
    address = document["static_resources"]["listeners"][0]["address"]
    return address["socket_address"]["port_value"]
