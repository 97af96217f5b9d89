"""Workloads that register themselves: for as long as their proxies are connected, and are well."""

import json
import signal
import ssl
from concurrent import futures

import grpc
import pytest

from harness.certificates import Authority
from harness.control import ENDPOINTS, proxy_bootstrap
from harness.mesh import MeshControl, Workload, sidecar, subnet
from harness.ports import free_port
from harness.protobuf import field
from harness.proxy import Proxy
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


def probing(mesh, is_delta, address, method, **more):
    """A workload of the group, whose proxy checks its application."""
    probe = {**method, "periodSeconds": 1, "timeoutSeconds": 5, **more}
    return sidecar("fairlead", mesh, is_delta, address, name="vm", AUTO_REGISTER_GROUP="legacy",
                   PROXY_CONFIG={"readinessProbe": probe, "concurrency": 2})


def ready(mesh, address, is_ready):
    """Waits until requests are sent there, or are not."""
    until(lambda: endpoints(mesh) == [(f"{address}:8080", is_ready)], 10, f"ready: {is_ready}")


def test_a_proxy_reports_how_its_application_is(mesh, is_delta):
    """It is sent requests when it answers well, none when it does not; a new control plane hears of it."""
    mesh.apply("group.yaml", GROUP + PROBE + SERVICE)
    address, answer = subnet() + ".1", {"status": 503}
    workload = Workload(address, 8080, "vm", lambda _: (answer["status"], {}, b"!"))
    proxy = probing(mesh, is_delta, address, {"httpGet": {
        "path": "healthz?a=%20", "port": 8080, "scheme": "HTTP",
        "httpHeaders": [{"name": "X-Probe", "value": "me"}]}}, failureThreshold=2)
    try:
        until(lambda: len(workload.requests) >= 2, 10, "two probes")
        ready(mesh, address, False)
        registered = mesh.folder / "applied" / "registered.yaml"
        until(lambda: f"{address}:8080 answers with 503" in registered.read_text())
        method, path, fields = workload.requests[0]
        assert (method, path) == ("GET", "/healthz?a=%20")
        assert {"host": f"{address}:8080", "user-agent": "istio-probe/1.0", "X-Probe": "me",
                "connection": "close"} == fields
        answer["status"] = 302
        ready(mesh, address, True)
        # What happens while nobody is there to hear is told whoever comes.
        mesh.process.send_signal(signal.SIGKILL)
        mesh.process.wait()
        workload.stop()
        until(lambda: "cannot be connected to" in proxy.output(), 10, "the probe to fail")
        mesh.start("--registration-grace", "30")
        ready(mesh, address, False)
        workload = Workload(address, 8080, "vm")
        ready(mesh, address, True)
        assert "stays unready" not in mesh.output()
    finally:
        proxy.stop()
        workload.stop()


def serving(status):
    """A gRPC health service that says this of the service `web`, and that others are unknown."""
    def check(request, context):
        if request != field(1, "web"):
            context.abort(grpc.StatusCode.NOT_FOUND, "who?")
        return field(1, status["of web"])

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})])
    return server


def test_other_ways_to_ask(mesh, tmp_path):
    """A connection that is accepted, gRPC's own health service, and HTTP over TLS, whoever answers."""
    mesh.apply("group.yaml", GROUP + PROBE + SERVICE)
    address, status = subnet() + ".1", {"of web": 2}
    server = serving(status)
    port = server.add_insecure_port(f"{address}:0")
    server.start()
    proxy = probing(mesh, False, address, {"grpc": {"port": port, "service": "web"}})
    try:
        until(lambda: "says that it is not serving" in proxy.output(), 10, "the probe to fail")
        ready(mesh, address, False)
        status["of web"] = 1
        ready(mesh, address, True)
    finally:
        proxy.stop()
    proxy = probing(mesh, False, address, {"tcpSocket": {"port": port}}, initialDelaySeconds=1)
    try:
        ready(mesh, address, True)
        server.stop(0).wait()
        ready(mesh, address, False)
    finally:
        proxy.stop()
        server.stop(0)
    workload = Workload(address, 0, "vm")
    identity = Authority(tmp_path).issue("vm")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    workload.server.socket = context.wrap_socket(workload.server.socket, server_side=True)
    port = workload.server.server_port
    proxy = probing(mesh, False, address, {"httpGet": {"port": port, "scheme": "HTTPS"}})
    try:
        ready(mesh, address, True)
        assert workload.requests[0][1] == "/"
        assert proxy.stat("application_probe.ssl.handshake") >= 1
    finally:
        proxy.stop()
        workload.stop()


MISTAKES = [
    ({"httpGet": {"port": 0, "scheme": "FTP", "host": "web.example.com", "path": "/a b",
                  "httpHeaders": [{"name": "a:", "value": "b"}], "pat": "/"},
      "periodSeconds": "1", "timeoutSecond": 1},
     ["readinessProbe.timeoutSecond: no such field 'timeoutSecond'; did you mean "
      "'timeoutSeconds'?", "httpGet.pat: no such field 'pat'", "httpGet.scheme: expected HTTP or HTTPS, found 'ftp'",
      "httpGet.path: ", "httpGet.httpHeaders[0]: ", "httpGet.port: expected a port",
      "periodSeconds: expected a whole number"]),
    ({"tcpSocket": {"port": 80, "host": "web.example.com"}}, ["tcpSocket.host: "]),
    ({"exec": {"command": ["true"]}}, ["readinessProbe.exec: commands are not supported"]),
    ({"httpGet": {"port": 80}, "grpc": {"port": 81}}, ["readinessProbe: expected one of"]),
    ("httpGet", ["readinessProbe: expected an object"]),
]


def test_a_probe_that_cannot_work_is_refused():
    """By the place of each mistake."""
    for probe, words in MISTAKES:
        document = proxy_bootstrap(1, free_port(), False)
        document["node"]["metadata"] = {"PROXY_CONFIG": {"readinessProbe": probe}}
        code, output = Proxy("fairlead").validate(document)
        assert code == 1
        for word in words:
            assert word in output, (word, output)
        assert len(output.splitlines()) == len(words), output
