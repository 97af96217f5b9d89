"""Bytes as they come: `tcp_proxy`, the network filters around it, with a real Redis behind.

Statistics and log lines are compared with the real Envoy's where a scenario runs in both.
"""

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import threading

import pytest

from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import address, cluster
from harness.waiting import until

_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LINE = ("%RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% "
        "%RESPONSE_CODE% %PROTOCOL% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %ACCESS_LOG_TYPE% "
        "%UPSTREAM_TRANSPORT_FAILURE_REASON% %FILTER_CHAIN_NAME% %UPSTREAM_WIRE_BYTES_SENT% "
        "%UPSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%\n")


def tcp(**config):
    """A `tcp_proxy`."""
    config = {"stat_prefix": "tcp", **config}
    if not {"cluster", "weighted_clusters"} & set(config):
        config["cluster"] = "up"
    return {"name": "tcp", "typed_config": {"@type": f"{_NETWORK}.tcp_proxy.v3.TcpProxy", **config}}


def filter_of(kind, message, **config):
    """Another network filter."""
    return {"name": kind, "typed_config": {"@type": f"{_NETWORK}.{kind}.v3.{message}", **config}}


def listener(port, *filters, **extra):
    """A listener with one chain."""
    return {"name": f"l{port}", "address": address(port),
            "filter_chains": [{"name": "chain", "filters": list(filters)}], **extra}


class Server:
    """Runs a function with every connection, each on a thread."""

    def __init__(self, behaviour, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, port), family=family)
        self.port = self.socket.getsockname()[1]
        self.behaviour = behaviour
        self.taken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.taken += 1
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, contextlib.suppress(OSError):
            self.behaviour(peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone would leave the port to the thread that waits.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def receive_all(peer):
    """Everything until the other side has ended."""
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answer_at_the_end(peer):
    """Says what it got, once the client has ended its side."""
    data = receive_all(peer)
    peer.sendall(b"got " + data)


def reset(peer):
    """Takes a word and breaks the connection."""
    peer.recv(1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.fixture
def run(proxy_kind, tmp_path):
    """Starts proxies with listeners and clusters; all end with the test."""
    with contextlib.ExitStack() as stack:
        def start(listeners, clusters, kind=proxy_kind, **extra):
            return stack.enter_context(
                Proxy(kind).start(bootstrap(listeners, clusters, free_port()), **extra))
        yield start


def connect(port):
    """A client's connection."""
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(10)
    return client


def test_half_closes_pass_both_ways(run):
    """A client that has ended its side still hears the answer."""
    port = free_port()
    with Server(answer_at_the_end) as server:
        run([listener(port, tcp())], [cluster("up", server.port)])
        with connect(port) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b"got hello"


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_arrive_whole_and_in_order(run, workers):
    """Megabytes each way at once, from several clients."""
    port = free_port()
    sent = os.urandom(1 << 20) * 8

    def both_ways(peer):
        writer = threading.Thread(target=peer.sendall, args=(sent,))
        writer.start()
        digest = hashlib.sha256(receive_all(peer)).digest()
        writer.join()
        peer.sendall(digest)

    with Server(both_ways) as server:
        run([listener(port, tcp())], [cluster("up", server.port)],
            extra=("--concurrency", str(workers)))

        def one(failures):
            with connect(port) as client:
                def write():
                    client.sendall(sent)
                    client.shutdown(socket.SHUT_WR)
                writer = threading.Thread(target=write)
                writer.start()
                got = receive_all(client)
                writer.join()
                if got != sent + hashlib.sha256(sent).digest():
                    failures.append(len(got))

        failures = []
        threads = [threading.Thread(target=one, args=(failures,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_a_reader_that_stalls_misses_nothing(run):
    """What the client's socket does not take of a bulk waits, and comes in its place."""
    port = free_port()
    sent = os.urandom(1 << 20) * 32
    with Server(lambda peer: peer.sendall(sent)) as server:
        proxy = run([listener(port, tcp())], [cluster("up", server.port)])
        with connect(port) as client:
            proxy.wait_stat("cluster.up.upstream_flow_control_paused_reading_total", 1)
            assert receive_all(client) == sent


@pytest.mark.unsanitized("keeps freed memory")
def test_a_slow_reader_makes_the_sender_wait(run):
    """What is buffered stays within the limits, whatever the upstream has to say."""
    port = free_port()
    progress = []
    gone = threading.Event()

    def pour(peer):
        peer.settimeout(30)
        try:
            while True:
                progress.append(peer.send(bytes(65536)))
        except OSError:
            gone.set()

    with Server(pour) as server:
        limit = {"per_connection_buffer_limit_bytes": 65536}
        proxy = run([listener(port, tcp(), **limit)], [cluster("up", server.port, **limit)])
        before = proxy.resident_kib()
        with connect(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            proxy.wait_stat("cluster.up.upstream_flow_control_paused_reading_total", 1)
            assert proxy.resident_kib() - before < 4096
        assert gone.wait(10), "the upstream does not learn that its reader has left"


def test_a_broken_upstream_breaks_the_client(run):
    """A connection that was cut must not look whole."""
    port = free_port()
    with Server(reset) as server:
        run([listener(port, tcp())], [cluster("up", server.port)])
        with connect(port) as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                receive_all(client)


def test_idle_and_lasting_sessions_end(run):
    """`idle_timeout`, `max_downstream_connection_duration`."""
    ports = free_port(), free_port()
    with Server(receive_all) as server:
        proxy = run([
            listener(ports[0], tcp(stat_prefix="idle", idle_timeout="0.2s")),
            listener(ports[1], tcp(stat_prefix="old", max_downstream_connection_duration="0.2s"))],
            [cluster("up", server.port)])
        for port, stat in zip(ports, ("idle.idle_timeout", "old.max_downstream_connection_duration")):
            with connect(port) as client:
                assert receive_all(client) == b""
            proxy.wait_stat(f"tcp.{stat}", 1)


def test_weights_share_connections(run):
    """`weighted_clusters`: 300 connections at 1:2 are within five standard deviations."""
    port = free_port()
    with Server(lambda peer: peer.sendall(b"a")) as one, Server(lambda p: p.sendall(b"b")) as two:
        weights = {"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]}
        run([listener(port, tcp(weighted_clusters=weights))],
            [cluster("a", one.port), cluster("b", two.port)])
        count = 0
        for _ in range(300):
            with connect(port) as client:
                count += client.recv(1) == b"a"
        assert abs(count - 100) < 5 * (300 * 2 / 9) ** 0.5


def test_another_endpoint_is_tried(run):
    """`max_connect_attempts`."""
    port = free_port()
    with Server(lambda peer: peer.sendall(b"here")) as server:
        refusing = free_port()
        proxy = run([listener(port, tcp(max_connect_attempts=3))],
                    [cluster("up", refusing, server.port)])
        for _ in range(4):
            with connect(port) as client:
                assert receive_all(client) == b"here"
        assert proxy.stat("cluster.up.upstream_cx_connect_fail") > 0
        assert proxy.stat("cluster.up.upstream_cx_connect_attempts_exceeded") == 0


def test_the_server_name_chooses_the_cluster(run):
    """`sni_cluster` in front of `tcp_proxy`; what is encrypted passes untouched."""
    import ssl

    port = free_port()
    seen = {}

    def note(name):
        def behaviour(peer):
            seen[name] = peer.recv(65536)
        return behaviour

    with Server(note("a.example")) as one, Server(note("rest")) as two:
        inspector = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3"
                     ".TlsInspector"}}
        proxy = run([listener(port, filter_of("sni_cluster", "SniCluster"), tcp(cluster="rest"),
                              listener_filters=[inspector])],
                    [cluster("a.example", one.port), cluster("rest", two.port)])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for name in ("a.example", None):
            with connect(port) as client, pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(client, server_hostname=name)
            until(lambda: (name or "rest") in seen, what="the greeting to arrive")
            assert seen[name or "rest"][:2] == b"\x16\x03"
        with connect(port) as client, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(client, server_hostname="nobody.example")
        proxy.wait_stat("tcp.tcp.downstream_cx_no_route", 1)


def test_connections_are_limited(run):
    """`connection_limit`: the whole process's, and a refused client waits."""
    port = free_port()
    limit = filter_of("connection_limit", "ConnectionLimit", stat_prefix="limit",
                      max_connections=2, delay="0.1s")
    with Server(receive_all) as server:
        proxy = run([listener(port, limit, tcp())], [cluster("up", server.port)],
                    extra=("--concurrency", "2"))
        held = [connect(port), connect(port)]
        proxy.wait_stat("connection_limit.limit.active_connections", 2)
        with connect(port) as refused:
            assert refused.recv(1) == b""
        assert proxy.stat("connection_limit.limit.limited_connections") == 1
        for client in held:
            client.close()
        until(lambda: proxy.stat("connection_limit.limit.active_connections") == 0)
        with connect(port):
            proxy.wait_stat("connection_limit.limit.active_connections", 1)


def test_small_answers_without_an_upstream(run):
    """`direct_response` and `echo`."""
    ports = free_port(), free_port()
    proxy = run([
        listener(ports[0], filter_of("direct_response", "Config",
                                     response={"inline_string": "closed\n"})),
        listener(ports[1], filter_of("echo", "Echo"))], [])
    with connect(ports[0]) as client:
        assert receive_all(client) == b"closed\n"
    words = os.urandom(300_000)
    with connect(ports[1]) as client:
        writer = threading.Thread(
            target=lambda: (client.sendall(words), client.shutdown(socket.SHUT_WR)))
        writer.start()
        assert receive_all(client) == words
        writer.join()
    for port in ports:
        proxy.wait_stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy", 1)


SCENARIOS = {
    "an answer": (answer_at_the_end, {}, {}),
    "nobody listens": (None, {}, {}),
    "two attempts": (None, {"max_connect_attempts": 2}, {}),
    "no such cluster": (answer_at_the_end, {"cluster": "missing"}, {}),
    "no endpoint": (answer_at_the_end, {}, {"load_assignment": {
        "cluster_name": "up", "endpoints": []}}),
    "no connection allowed": (answer_at_the_end, {}, {"circuit_breakers": {
        "thresholds": [{"max_connections": 0}]}}),
}
# Named for what they have in common: what is counted, but for bytes within heads and time.
STATS = re.compile(r"^(tcp\.tcp|cluster\.up\.(upstream_(cx|rq)|circuit))"
                   r"(?!.*(_buffered|rq_per_cx|rx_bytes|tx_bytes))")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_as_envoy(run, proxy_kind, tmp_path, name):
    """Log line and statistics of one connection."""
    behaviour, config, options = SCENARIOS[name]
    told = {}
    for kind in {"envoy", proxy_kind}:
        port, log = free_port(), tmp_path / f"{kind}.log"
        logs = [{"name": "file", "typed_config": {
            "@type": _FILE_LOG, "path": str(log),
            "log_format": {"text_format_source": {"inline_string": LINE}}}}]
        with contextlib.ExitStack() as stack:
            upstream = (stack.enter_context(Server(behaviour)).port if behaviour else free_port())
            proxy = run([listener(port, tcp(access_log=logs, **config))],
                        [{**cluster("up", upstream), **options}], kind=kind)
            with connect(port) as client:
                with contextlib.suppress(OSError):
                    client.sendall(b"hello")
                    client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    receive_all(client)
            proxy.wait_stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy", 1)
            until(lambda: log.exists() and log.read_text().endswith("\n"), what="the log line")
            line = log.read_text().replace(str(upstream), "PORT")
            # Bytes that a refused client sent are counted once they are read: never, or at the end.
            if behaviour is not answer_at_the_end or config or options:
                line = re.sub(r"\d+ \d+ 0 -", "N N 0 -", line)
            told[kind] = line, {
                key: value for key, value in proxy.stats().items() if STATS.match(key) and value}
    assert told[proxy_kind][0] == told["envoy"][0]
    assert sorted(told[proxy_kind][1].items()) == sorted(told["envoy"][1].items())


REFUSED = {
    "a proxy that is not last": [tcp(), tcp()],
    "a chain without an end": [filter_of("sni_cluster", "SniCluster")],
    "no cluster at all": [{"name": "tcp", "typed_config": {
        "@type": f"{_NETWORK}.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp"}}],
    "weight 0": [tcp(weighted_clusters={"clusters": [{"name": "up", "weight": 0}]})],
    "no limit": [filter_of("connection_limit", "ConnectionLimit", stat_prefix="l"), tcp()],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(proxy_kind, name):
    """What Envoy refuses, with the place."""
    code, output = Proxy(proxy_kind).validate(
        bootstrap([listener(free_port(), *REFUSED[name])], [cluster("up", 1)]))
    assert code != 0, output
    if proxy_kind == "fairlead":
        assert "filter_chains[0].filters[" in output, output


def test_redis(run):
    """A real server and its own client, through the proxy."""
    redis, port = free_port(), free_port()
    with subprocess.Popen(
            ["redis-server", "--port", str(redis), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL) as server:
        try:
            run([listener(port, tcp())], [cluster("up", redis)])

            def ask(*words, **options):
                return subprocess.run(
                    ["redis-cli", "-p", str(port), *words], stdout=subprocess.PIPE, check=True,
                    **options).stdout

            until(lambda: subprocess.run(["redis-cli", "-p", str(redis), "ping"], check=False,
                                         stdout=subprocess.PIPE).stdout == b"PONG\n")
            value = os.urandom(3 << 20).hex().encode()
            assert ask("-x", "set", "key", input=value) == b"OK\n"
            assert ask("get", "key") == value + b"\n"
            assert ask("--raw", "-r", "50", "incr", "n").split()[-1] == b"50"
        finally:
            server.terminate()


def test_bytes_are_counted_while_a_session_lasts(run):
    """Both sides' counters have what has passed, and do not wait for the end."""
    port = free_port()

    def shout(peer):
        while part := peer.recv(65536):
            peer.sendall(part.upper() * 3)

    with Server(shout) as server:
        proxy = run([listener(port, tcp())], [cluster("up", server.port)])
        with connect(port) as client:
            for turn in (1, 2):
                client.sendall(b"abcde")
                assert client.recv(15, socket.MSG_WAITALL) == b"ABCDE" * 3
                proxy.wait_stat("tcp.tcp.downstream_cx_rx_bytes_total", 5 * turn)
                proxy.wait_stat("tcp.tcp.downstream_cx_tx_bytes_total", 15 * turn)
                proxy.wait_stat("cluster.up.upstream_cx_tx_bytes_total", 5 * turn)
                proxy.wait_stat("cluster.up.upstream_cx_rx_bytes_total", 15 * turn)
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        assert proxy.stat("cluster.up.upstream_cx_rx_bytes_total") == 30
