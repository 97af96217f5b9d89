"""Starting and serving."""

import json
import signal
import socket
import statistics
import threading
import time

import pytest

from harness.client import fetch

from .support import changed

# Start to listening, in seconds. The promise is 30 ms; a shared machine gets some slack.
START_SECONDS = 0.15


@pytest.mark.unsanitized("the time of a start")
@pytest.mark.alone("the time of a start")
def test_start_to_listening(proxy):
    """From exec to an accepted connection, the median of several starts."""
    times = []
    for _ in range(7):
        proxy.start(proxy.document, wait=False)
        while True:
            try:
                socket.create_connection(("127.0.0.1", proxy.port), 1).close()
                break
            except OSError:
                assert proxy.alive(), proxy.output()
                time.sleep(0.001)  # between two looks; short against what is measured
        times.append(time.monotonic() - proxy.started_at)
        proxy.signal(signal.SIGKILL)
        proxy.wait_exit()
    print(f"\nstart to listening: {statistics.median(times) * 1000:.1f} ms "
          f"({', '.join(f'{t * 1000:.0f}' for t in times)})")
    if proxy.kind == "fairlead":
        assert statistics.median(times) < START_SECONDS


@pytest.mark.parametrize("workers", [2, 4])
def test_concurrency(proxy, upstream, workers):
    """With several workers all is served and counted once."""
    proxy.start(proxy.document, ("--concurrency", str(workers)))

    def client():
        for _ in range(20):
            assert fetch(proxy.port).status == 200

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert proxy.stat("http.main.downstream_rq_2xx") == 160
    assert proxy.stat("server.concurrency") == workers
    assert len(upstream.requests) == 160


def test_options_reach_the_node(proxy):
    """--service-node and --service-cluster."""
    document = {k: v for k, v in proxy.document.items() if k != "node"}
    proxy.start(document, ("--concurrency", "1", "--service-node", "n1",
                           "--service-cluster", "c1"))
    info = json.loads(proxy.admin("/server_info").body)
    assert info["node"]["id"] == "n1" and info["node"]["cluster"] == "c1"


def test_config_yaml_is_merged(proxy):
    """--config-yaml over the file."""
    proxy.start(proxy.document, ("--concurrency", "1", "--config-yaml", "node: {id: from-yaml}"))
    assert json.loads(proxy.admin("/server_info").body)["node"]["id"] == "from-yaml"


def test_unix_sockets_both_sides(proxy, tmp_path):
    """A listener and an endpoint on Unix sockets."""
    inner, outer = tmp_path / "inner.sock", str(tmp_path / "outer.sock")
    document = changed(proxy.document, ["static_resources", "listeners", 0, "address"],
                       {"pipe": {"path": outer}})
    endpoint = ["static_resources", "clusters", 0, "load_assignment", "endpoints", 0,
                "lb_endpoints", 0, "endpoint", "address"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(inner))
        server.listen()
        proxy.start(changed(document, endpoint, {"pipe": {"path": str(inner)}}))

        def serve():
            peer, _ = server.accept()
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
            peer.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        assert fetch(0, address=outer).body == b"unix"


def test_ipv6(proxy):
    """A listener on ::1."""
    document = changed(proxy.document, ["static_resources", "listeners", 0, "address",
                                        "socket_address", "address"], "::1")
    proxy.start(document)
    assert fetch(proxy.port, address="::1").status == 200
