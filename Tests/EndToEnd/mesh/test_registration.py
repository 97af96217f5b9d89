"""Workloads that register themselves: for as long as their proxies are connected, and are well."""

import json
import signal

import pytest

from harness.control import ENDPOINTS
from harness.mesh import MeshControl, sidecar, subnet
from harness.protobuf import field
from harness.tool import tool
from harness.waiting import until

from .test_protocol import Stream, delta, world

HEALTH = "type.googleapis.com/istio.v1.HealthInformation"
CLUSTER = "outbound|80||legacy.example.com"
GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: legacy}
spec:
  metadata: {labels: {app: legacy}}
  template: {ports: {http: 8080}, serviceAccount: legacy}
"""
PROBE = "  probe: {httpGet: {path: /healthz, port: 8080}}\n"
SERVICE = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: legacy}
spec:
  hosts: [legacy.example.com]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: legacy}}
"""


def node(address, **metadata):
    """A sidecar with metadata of texts."""
    entries = [field(1, field(1, name) + field(2, field(3, value)))
               for name, value in metadata.items()]
    return field(1, f"sidecar~{address}~vm-1.default~default.svc.cluster.local") \
        + field(3, b"".join(entries))


@pytest.fixture
def mesh(tmp_path):
    """A control plane with a group and a service of its workloads; three seconds of grace."""
    control = MeshControl(tmp_path)
    control.apply("group.yaml", GROUP + SERVICE)
    yield control.start("--registration-grace", "3")
    control.stop()


def entries(control):
    """The registered workloads."""
    done = tool("get", "we", "-o", "name", "--control", f"127.0.0.1:{control.http}")
    return [line.split("/")[1] for line in done.out.splitlines()]


def endpoints(control):
    """Where the service's requests may go, and whether they do."""
    return [(each["address"], each["ready"]) for service in json.loads(
        control.get("/debug/endpointz")) for each in service["endpoints"]]


def test_a_proxy_is_a_workload_as_long_as_it_is_there(mesh, is_delta):
    request, method = (delta, "DeltaAggregatedResources") if is_delta else (
        world, "StreamAggregatedResources")
    me = node("127.9.9.9", AUTO_REGISTER_GROUP="legacy")
    with Stream(mesh.port, method) as stream:
        stream.requests.put(request(ENDPOINTS, [CLUSTER], node=me))
        until(lambda: entries(mesh) == ["legacy-127.9.9.9"], 10, "the entry")
        assert endpoints(mesh) == [("127.9.9.9:8080", True)]
    # A new stream within the grace period finds it as it was; so does a new control plane.
    mesh.process.send_signal(signal.SIGKILL)
    mesh.process.wait()
    mesh.start("--registration-grace", "3")
    assert entries(mesh) == ["legacy-127.9.9.9"]
    with Stream(mesh.port, method) as stream:
        stream.requests.put(request(ENDPOINTS, [CLUSTER], node=me))
        stream.next()
        # With a probe it is sent nothing before its proxy says that it is well.
        mesh.apply("group.yaml", GROUP + PROBE + SERVICE)
        until(lambda: endpoints(mesh) == [("127.9.9.9:8080", False)], 10, "not ready")
        stream.requests.put(request(HEALTH, node=None))
        until(lambda: endpoints(mesh) == [("127.9.9.9:8080", True)], 10, "ready")
        error = field(2, "connection refused")
        stream.requests.put((field(2, HEALTH) + field(7, error)) if is_delta
                            else (field(4, HEALTH) + field(6, error)))
        until(lambda: endpoints(mesh) == [("127.9.9.9:8080", False)], 10, "not ready again")
        assert "connection refused" in (mesh.folder / "applied" / "registered.yaml").read_text()
    until(lambda: entries(mesh) == [], 10, "the entry to go")
    assert endpoints(mesh) == []


def test_a_group_that_comes_later_is_waited_for(mesh):
    address = subnet() + ".1"
    proxy = sidecar("fairlead", mesh, True, address, name="vm", AUTO_REGISTER_GROUP="later")
    try:
        mesh.wait_log("there is no WorkloadGroup default/later")
        mesh.apply("later.yaml", GROUP.replace("name: legacy", "name: later"))
        until(lambda: entries(mesh) == [f"later-{address}"], 10, "the entry")
        mesh.remove("later.yaml")
        until(lambda: entries(mesh) == [], 10, "the entry to go with its group")
    finally:
        proxy.stop()
