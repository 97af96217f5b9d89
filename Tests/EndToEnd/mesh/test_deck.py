"""The example of 70 and 30, through every kind of client that the control plane drives."""

import json
import os
import subprocess
import sys

import grpc
import pytest

from harness.client import Connection, fetch, request_bytes
from harness.mesh import DECK, MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import until

REQUESTS = 10_000
# Five standard deviations of a binomial distribution with p = 0.7.
BOUND = 5 * (REQUESTS * 0.7 * 0.3) ** 0.5


@pytest.fixture
def folder(tmp_path):
    """A control plane whose directory is still empty."""
    control = MeshControl(tmp_path)
    yield control
    if control.process:
        control.stop()


def shares(port, address, count=REQUESTS, host="service-go"):
    """How often each version answered."""
    found = {}
    with Connection(port, address, 60) as connection:
        for _ in range(count):
            connection.send(request_bytes("GET", "/", (), None, host))
            body = connection.read_response("GET").body.decode()
            found[body] = found.get(body, 0) + 1
    return found


def assert_split(found, count=REQUESTS):
    """Nothing else answered, and v1 its share."""
    assert set(found) == {"v1", "v2"}
    assert sum(found.values()) == count
    assert abs(found["v1"] - 0.7 * count) < BOUND


@pytest.mark.parametrize("delta", [False, True], ids=["world", "delta"])
@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
@pytest.mark.unsanitized("ten thousand requests, one by one")
def test_proxies(folder, kind, delta):
    net = subnet()
    workloads = [Workload(f"{net}.1", 9001, "v1"), Workload(f"{net}.2", 9001, "v2")]
    folder.apply("services.yaml", service("service-go", 80, 9001)
                 + pod("go-1", "service-go", "v1", f"{net}.1")
                 + pod("go-2", "service-go", "v2", f"{net}.2"))
    folder.apply("deck.yaml", DECK)
    folder.start()
    proxy = sidecar(kind, folder, delta, f"{net}.9")
    try:
        assert_split(shares(80, f"{net}.9"))
        assert fetch(80, host="service-go.default.svc.cluster.local",
                     address=f"{net}.9").status == 200
        states = json.loads(folder.get("/debug/syncz"))
        assert [one["client"] for one in states] == [kind]
        assert {one["type"]: one["state"] for one in states[0]["types"]} == {
            "CDS": "SYNCED", "EDS": "SYNCED", "LDS": "SYNCED", "RDS": "SYNCED", "SDS": "IGNORED",
            "ECDS": "IGNORED"}
        assert sum(proxy.stats("update_rejected").values()) == 0

        # All to the second version, without a restart.
        folder.apply("deck.yaml", DECK.replace("weight: 70", "weight: 0")
                     .replace("weight: 30", "weight: 100"))
        until(lambda: shares(80, f"{net}.9", 20) == {"v2": 20}, 10, "all to go to v2")
    finally:
        proxy.stop()
        for one in workloads:
            one.stop()


CLIENT = """
import json, sys, grpc
channel = grpc.insecure_channel("xds:///service-go:80")
call = channel.unary_unary("/test.Echo/Name")
found = {}
for _ in range(int(sys.argv[1])):
    name = call(b"", timeout=20, wait_for_ready=True).decode()
    found[name] = found.get(name, 0) + 1
print(json.dumps(found))
"""


def echo(address, name):
    """A gRPC server that answers with its name."""
    handler = grpc.method_handlers_generic_handler(
        "test.Echo", {"Name": grpc.unary_unary_rpc_method_handler(lambda *_: name.encode())})
    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    assert server.add_insecure_port(address)
    server.start()
    return server


@pytest.mark.unsanitized("ten thousand requests, one by one")
def test_grpc_without_a_proxy(folder):
    net = subnet()
    servers = [echo(f"{net}.1:9001", "v1"), echo(f"{net}.2:9001", "v2")]
    folder.apply("services.yaml", service("service-go", 80, 9001, protocol="grpc")
                 + pod("go-1", "service-go", "v1", f"{net}.1")
                 + pod("go-2", "service-go", "v2", f"{net}.2"))
    folder.apply("deck.yaml", DECK)
    folder.start()
    bootstrap = {
        "xds_servers": [{"server_uri": f"127.0.0.1:{folder.port}",
                         "channel_creds": [{"type": "insecure"}],
                         "server_features": ["xds_v3"]}],
        "node": {"id": f"sidecar~{net}.9~client.default~default.svc.cluster.local",
                 "metadata": {"GENERATOR": "grpc", "NAMESPACE": "default"}}}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(REQUESTS)], capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap),
                          "no_proxy": "*"})
    assert done.returncode == 0, done.stderr[-2000:] + folder.output()[-2000:]
    assert_split(json.loads(done.stdout))
    assert "refused" not in folder.output()
    for one in servers:
        one.stop(None)
