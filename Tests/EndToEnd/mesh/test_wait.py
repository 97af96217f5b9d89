"""`fairleadctl wait`: nothing is live before every client that it is for has accepted it."""

import pytest

from harness.control import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from harness.mesh import DECK, MeshControl, pod, service
from harness.protobuf import field, parse, text
from harness.tool import tool

from .test_protocol import Stream, delta

NODE = field(1, "sidecar~127.9.9.8~slow.default~default.svc.cluster.local")
GRPC = field(1, "library") + field(6, "gRPC C-core")
HOST = "service-go.default.svc.cluster.local"


@pytest.fixture
def mesh(tmp_path):
    """The deck's rules and one pod."""
    control = MeshControl(tmp_path)
    control.apply("mesh.yaml", DECK + service("service-go", 8080)
                  + pod("go-1", "service-go", "v1", "127.0.0.9"))
    yield control.start()
    control.stop()


class Client:
    """A client that says what a test tells it to."""

    def __init__(self, stream, mesh):
        self.stream, self.mesh = stream, mesh

    def ask(self, kind, *names, node=None):
        """Asks; returns the answer's nonce, once there is one."""
        self.stream.requests.put(delta(kind, names, node=node))
        return self.answer(kind)

    def answer(self, kind):
        """The nonce of the next response, which is of this kind."""
        response = self.stream.next()
        assert text(response, 4) == kind
        self.names = [text(parse(each), 3) for each in response.get(2, [])]
        return text(response, 5)

    def say(self, kind, nonce, error=None):
        """Accepts, or refuses."""
        detail = field(7, field(2, error)) if error else b""
        self.stream.requests.put(field(2, kind) + field(6, nonce) + detail)

    def waits(self, name="service-go", code=1):
        """What `wait` says; by default that it is not live."""
        done = tool("wait", "vs", name, "--timeout", "0" if code else "10", "--control",
                    f"127.0.0.1:{self.mesh.http}", code=code)
        return done.err if code else done.out


def test_a_proxy_is_followed_to_the_last_answer(mesh):
    mesh.apply("far.yaml", DECK.split("---")[1].replace("name: service-go", "name: far")
               .replace("spec:", "spec:\n  exportTo: [elsewhere]"))
    mesh.wait_log("changed: VirtualService default/far")
    with Stream(mesh.port, "DeltaAggregatedResources") as stream:
        client = Client(stream, mesh)
        assert "no proxy is connected" in client.waits(code=0)
        clusters = client.ask(CLUSTER, node=NODE)
        # What the rule has nothing to do with may be missing.
        assert "live" in client.waits("far", code=0)
        assert "slow.default: RDS '8080' has not been asked for" in client.waits()
        client.say(CLUSTER, clusters)
        client.say(ENDPOINTS, client.ask(ENDPOINTS, f"outbound|8080|v1|{HOST}"))
        listeners = client.ask(LISTENER)
        client.say(LISTENER, listeners)
        assert "slow.default: RDS '8080' has not been asked for" in client.waits()
        routes = client.ask(ROUTES, "8080")
        assert "RDS '8080' was sent and is not acknowledged" in client.waits()
        client.say(ROUTES, routes, "8080: I do not like it")
        mesh.wait_log("I do not like it")
        assert "RDS '8080' was refused: 8080: I do not like it" in client.waits()
        mesh.apply("mesh.yaml", DECK.replace("70", "60").replace("30", "40")
                   + service("service-go", 8080) + pod("go-1", "service-go", "v1", "127.0.0.9"))
        client.say(ROUTES, client.answer(ROUTES))
        assert "live" in client.waits(code=0)


def test_a_library_is_followed_by_what_it_asks_for(mesh):
    with Stream(mesh.port, "DeltaAggregatedResources") as stream:
        client = Client(stream, mesh)
        name = f"{HOST}:8080"
        client.say(LISTENER, client.ask(LISTENER, name, node=GRPC))
        assert client.names == [name]
        said = client.waits()
        assert "library: RDS" in said and "has not been asked for" in said
        route = said.split("RDS '")[1].split("'")[0]
        client.say(ROUTES, client.ask(ROUTES, route))
        names = [f"outbound|8080|{subset}|{HOST}" for subset in ("v1", "v2")]
        for kind, short in ((CLUSTER, "CDS"), (ENDPOINTS, "EDS")):
            for name in names:
                assert f"{short} '{name}' has not been asked for" in client.waits()
                client.say(kind, client.ask(kind, name))
        assert "live" in client.waits(code=0)
