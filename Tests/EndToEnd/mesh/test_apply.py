"""The mesh's objects over HTTP and with `fairleadctl`: applied, shown, deleted, rolled back."""

import json
import os
import select
import signal

import pytest
import yaml

from harness.client import Connection, fetch
from harness.mesh import DECK, MeshControl, Workload, pod, service, sidecar, subnet
from harness.tool import tool
from harness.waiting import until


def weights(one, two):
    """The deck's rules with other weights."""
    return DECK.replace("weight: 70", f"weight: {one}").replace("weight: 30", f"weight: {two}")


FAR = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far}
spec:
  hosts: [far.example.com]
  exportTo: [.]
  http: [{route: [{destination: {host: service-go.default.svc.cluster.local}}]}]
"""


class Store:
    """A control plane, and what its objects are changed with."""

    def __init__(self, directory, *extra):
        self.control = MeshControl(directory)
        self.extra = extra
        self.control.apply("mesh.yaml", service("service-go", 8080)
                           + pod("go-1", "service-go", "v1", "127.0.0.9"))

    def start(self):
        """Starts it."""
        self.control.start(*self.extra)
        return self

    def tool(self, *arguments, **options):
        """Runs a command against it."""
        return tool(*arguments, "--control", f"127.0.0.1:{self.control.http}", **options)

    def call(self, method, path, body=None, status=200, headers=(), **options):
        """One request; its answer as a document."""
        answer = fetch(self.control.http, path, method, headers, body, **options)
        assert answer.status == status, (answer.status, answer.body)
        return json.loads(answer.body)

    def weights(self):
        """Those of the deck's rule, as it is in force."""
        found = self.call("GET", "/api/v1/objects/vs/service-go")
        return [each["weight"] for each in found["spec"]["http"][0]["route"]]


@pytest.fixture
def store(tmp_path):
    """One that serves."""
    made = Store(tmp_path).start()
    yield made
    made.control.stop()


def test_objects_are_applied_shown_rolled_back_and_deleted(store, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(DECK)
    assert store.tool("apply", "-f", rules, "--dry-run", "server").out.splitlines() == [
        "destinationrule.networking.istio.io/service-go created (server dry run)",
        "virtualservice.networking.istio.io/service-go created (server dry run)"]
    assert store.tool("get", "vs").err == "No resources found in default namespace.\n"
    assert store.tool("apply", "-f", rules).out.splitlines() == [
        "destinationrule.networking.istio.io/service-go created",
        "virtualservice.networking.istio.io/service-go created"]
    assert [line.split()[-1] for line in store.tool("apply", "-f", rules).out.splitlines()] == [
        "unchanged"] * 2
    changed = store.tool("apply", "-f", "-", stdin=weights(10, 90))
    assert [line.split()[-1] for line in changed.out.splitlines()] == ["unchanged", "configured"]
    assert store.weights() == [10, 90]
    # kubectl's habits.
    [names, row] = store.tool("get", "virtualservices").rows
    assert names == ["NAME", "GATEWAYS", "HOSTS", "ACCEPTED", "AGE"]
    assert row[0] == "service-go"
    assert store.tool("get", "all", "-o", "name").out.splitlines() == [
        "destinationrule.networking.istio.io/service-go", "pod/go-1", "service/service-go",
        "virtualservice.networking.istio.io/service-go"]
    shown = yaml.safe_load(store.tool("get", "vs/service-go", "-o", "yaml").out)
    assert shown["spec"]["hosts"] == ["service-go"]
    # What was shown may be edited and applied, as long as nobody else was there first.
    shown["spec"]["http"][0]["route"][0]["weight"] = 20
    shown["spec"]["http"][0]["route"][1]["weight"] = 80
    edited = json.dumps(shown)
    assert "configured" in store.tool("apply", "-f", "-", stdin=edited).out
    late = store.tool("apply", "-f", "-", stdin=edited, code=1)
    assert "VirtualService default/service-go has changed" in late.err
    # The history, and back.
    rows = store.tool("history", "vs", "service-go").rows
    assert [row[0] for row in rows] == ["REVISION", "1", "2", "3"]
    assert "configured" in store.tool("rollback", "vs", "service-go").out
    assert store.weights() == [10, 90]
    store.tool("rollback", "--to-revision", "1")
    assert store.weights() == [70, 30]
    # All of it is there again after the control plane was killed.
    store.control.process.send_signal(signal.SIGKILL)
    store.control.process.wait()
    store.start()
    assert store.weights() == [70, 30]
    assert len(store.call("GET", "/api/v1/history")["revisions"]) == 5
    assert store.tool("delete", "-f", rules).out.splitlines() == [
        'destinationrule.networking.istio.io "service-go" deleted',
        'virtualservice.networking.istio.io "service-go" deleted']
    assert "there is no" in store.tool("delete", "vs", "service-go", code=1).err
    store.tool("delete", "vs", "service-go", "--ignore-not-found")
    store.tool("rollback", "--to-revision", "0")
    assert not list((store.control.folder / "applied").glob("*.yaml"))


def test_one_mistake_refuses_everything_and_says_where(store, tmp_path):
    rules = tmp_path / "rules"
    (rules / "below").mkdir(parents=True)
    (rules / "a.yaml").write_text(DECK)
    bad = rules / "below" / "b.yaml"
    bad.write_text(DECK.replace("name: service-go", "name: other").replace("weight: 70", "wieght: 7"))
    store.tool("apply", "-f", rules, "--dry-run", "server")
    refused = store.tool("apply", "-f", rules, "-R", code=1).err
    assert f"{bad}:28:7:" in refused and "weight" in refused
    assert store.tool("get", "vs,dr").out == ""
    for text, said in [
            (DECK.replace("VirtualService", "VirtualServise"), "VirtualService"),
            (DECK.replace("name: service-go", "name: ../../x"), "is no name of an object"),
            (DECK + "---\n" + DECK, "already a"), ("", "no object"), ("a: [", "line")]:
        answer = store.call("POST", "/api/v1/apply?file=x.yaml", text.encode(), 422)
        assert said in " ".join(answer["reasons"]) or "x.yaml:" in answer["reasons"][0], answer
    # What a user's own file defines is changed there.
    own = store.call("POST", "/api/v1/apply", service("service-go", 81).encode(), 409)
    assert f"{store.control.folder}/mesh.yaml" in own["reasons"][0]
    gone = store.call("DELETE", "/api/v1/objects/svc/service-go", status=409)
    assert "mesh.yaml" in gone["reasons"][0]
    assert "no kind 'vss'" in store.tool("get", "vss", code=1).err
    # Only whom one may trust.
    store.call("POST", "/api/v1/apply", DECK.encode(), 403, {"origin": "http://elsewhere.example"})
    assert store.tool("apply", "-f", rules, "-n", "shop").out.count("created") == 2
    assert store.tool("get", "vs", "-n", "shop", "-o", "name").out.count("\n") == 1
    assert fetch(store.control.http, "/api/v1/apply", "POST", {"content-length": "17000000"}
                 ).status == 413
    assert fetch(store.control.http, "/version", "POST", {"content-length": "70000"}).status == 413
    # A half-written file never counts, and what is there by hand does.
    kept = store.control.folder / "applied" / "virtualservice.shop.service-go.yaml"
    text = kept.read_text()
    (kept.parent / (kept.name + ".1.new")).write_text("half")
    os.rename(kept, kept.parent / "renamed.yaml")
    until(lambda: "renamed.yaml" in store.control.get("/debug/configz"), 10, "the file")
    answer = store.call("POST", "/api/v1/apply", text.encode(), 409)
    assert "renamed.yaml" in answer["reasons"][0]


def test_others_may_not_write(tmp_path):
    made = Store(tmp_path, "--http-writes", "none").start()
    try:
        answer = made.call("POST", "/api/v1/apply", DECK.encode(), 403)
        assert "--http-writes" in answer["reasons"][0]
        assert made.call("GET", "/api/v1/objects/services")["items"]
    finally:
        made.control.stop()


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
def test_a_change_is_shown_before_and_waited_for(store, tmp_path, kind, is_delta):
    address = subnet() + ".1"
    proxy = sidecar(kind, store.control, is_delta, address)
    try:
        rules = tmp_path / "rules.yaml"
        rules.write_text(DECK)
        assert "live" in store.tool("apply", "-f", rules, "--wait").out
        assert store.tool("diff", "-f", rules).out.endswith(
            "nothing that a proxy is sent would change\n")
        rules.write_text(weights(10, 90))
        shown = store.tool("diff", "-f", rules, code=2).out
        assert "RDS '8080' changed" in shown
        lines = [line.replace(" ", "") for line in shown.splitlines()]
        assert '-"weight":70' in lines and '+"weight":10' in lines
        assert store.weights() == [70, 30]
        waiting = store.tool("wait", "-f", rules, "--timeout", "0", code=1).err
        assert "in force with other content" in waiting
        store.tool("apply", "-f", rules)
        assert "live" in store.tool("wait", "--for", "live", "vs", "service-go").out
        assert "live" in store.tool("wait", "-f", rules).out
        # The proxy has it, and not only an answer that says so.
        dump = proxy.admin("/config_dump").body.decode()
        assert '"weight": 90' in dump
        # A proxy that does not answer any more has not accepted what follows.
        os.kill(proxy.process.pid, signal.SIGSTOP)
        store.tool("apply", "-f", "-", stdin=weights(60, 40))
        late = store.tool("wait", "vs", "service-go", "--timeout", "0", code=1).err
        assert "client.default: RDS '8080' was sent and is not acknowledged" in late
        # With another namespace's rules it has nothing to do.
        store.tool("apply", "-f", "-", "-n", "far", "--wait", "--timeout", "5s", stdin=FAR)
        os.kill(proxy.process.pid, signal.SIGCONT)
        assert "live" in store.tool("wait", "vs", "service-go").out
    finally:
        os.kill(proxy.process.pid, signal.SIGCONT)
        proxy.stop()


def test_a_workload_is_reached_as_the_applied_rule_says(store):
    place = subnet()
    one = Workload(f"{place}.2", 8080, "v1")
    proxy = sidecar("fairlead", store.control, True, f"{place}.1")
    try:
        store.tool("apply", "-f", "-", "--wait", stdin=service("web", 8080)
                   + pod("web-1", "web", "v1", f"{place}.2"))
        answer = fetch(8080, "/", host="web", address=f"{place}.1")
        assert (answer.status, answer.body) == (200, b"v1")
    finally:
        proxy.stop()
        one.stop()


def test_requests_hold_so_much_together_and_no_more(store):
    """Whoever sends the byte that is one too many is told to come back; short requests are answered."""
    head = b"POST /api/v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 16000000\r\n\r\n"
    total, each = 64 << 20, 15_900_000
    clients = [Connection(store.control.http, timeout=30) for _ in range(5)]
    try:
        for client, size in zip(clients, [each] * 4 + [total + 1 - 4 * each]):
            client.send(head + bytes(size - len(head)))
        answered = select.select([client.socket for client in clients], [], [], 30)[0]
        refused = [client for client in clients if client.socket in answered]
        assert len(refused) == 1
        answer = refused[0].read_response("POST")
        assert (answer.status, answer.value("retry-after")) == (503, "1")
        assert store.call("GET", "/api/v1/objects")
    finally:
        for client in clients:
            client.close()
