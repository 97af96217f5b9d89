"""What proxies write of requests, as Telemetry asks for it: our proxy, and the real Envoy, driven by the
control plane."""

import itertools
import json

import pytest

from harness.client import fetch, wait_listening
from harness.mesh import MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import eventually, settled, until

pytestmark = pytest.mark.unsanitized("sanitizers have seen access logs, and policies' translation")

PROXY_PORT = 15080
NAMES = ["mesh", "text", "json", "bare"]


def telemetry(entries, name="t", namespace="default", more=""):
    """A Telemetry about access logs."""
    return f"""---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{more}accessLogging: {entries}}}
"""


def to(*providers, more=""):
    """An entry for some providers."""
    names = ", ".join(f"{{name: {name}}}" for name in providers)
    return f"{{providers: [{names}]{more}}}"


class Street:
    """A proxy before a workload that is a client, too; and the files that it may write to."""

    def __init__(self, kind, directory):
        net = subnet()
        self.kind = kind
        self.marks = itertools.count()
        self.address = f"{net}.1"
        self.directory = directory
        self.application = Workload(
            f"{net}.2", 9080, "inside",
            lambda request: (500 if request.path.startswith("/bad") else 200, {}, b"inside"))
        self.control = MeshControl(directory)
        self.control.apply("services.yaml", service("shop", 9080)
                           + pod("shop-1", "shop", "v1", self.address))
        self.control.apply("mesh.yaml", f"""
apiVersion: mesh.istio.io/v1alpha1
kind: MeshConfig
metadata: {{name: mesh}}
spec:
  accessLogFile: {directory}/mesh
  accessLogFormat: "%REQ(:PATH)%"
  extensionProviders:
  - name: text
    envoyFileAccessLog: {{path: {directory}/text, logFormat: {{text: "%REQ(:PATH)%"}}}}
  - name: json
    envoyFileAccessLog: {{path: {directory}/json, logFormat: {{labels: {{path: "%REQ(:PATH)%"}}}}}}
  - name: bare
    envoyFileAccessLog:
      path: {directory}/bare
      logFormat: {{text: "%REQ_WITHOUT_QUERY(:PATH)%"}}
""")
        self.control.start()
        self.proxy = sidecar(kind, self.control, True, self.address, name="shop-1",
                             labels={"app": "shop"}, APPLICATION_ADDRESS=f"{net}.2",
                             HTTP_PROXY_PORT=str(PROXY_PORT))
        wait_listening(9080, self.address)
        wait_listening(PROXY_PORT, self.address)

    def lines(self, mark):
        """What is in each file of one trial, without what marks it."""
        found = {}
        for name in NAMES:
            path = self.directory / name
            text = path.read_text() if path.exists() else ""
            mine = [line.replace(mark, "") for line in text.splitlines() if mark in line]
            if mine:
                found[name] = mine
        return found

    def trial(self):
        """A good and a bad request from others, and one of the workload's own: what each leaves in which
        file."""
        mark = f"-m{next(self.marks)}-"
        for target in ("/good", "/bad"):
            fetch(9080, f"{target}{mark}?x", address=self.address, host="shop")
        fetch(PROXY_PORT, f"/own{mark}?x", address=self.address, host="nobody.example")
        # What is written is in the files within a second, and that of all three at once.
        eventually(lambda: self.lines(mark), 1.3)
        return settled(lambda: self.lines(mark))

    def writes(self, wanted, *rules):
        """Applies rules, and waits until this is what is written."""
        def updates():
            return self.proxy.stat("listener_manager.lds.update_success")

        before = updates()
        self.control.apply("telemetry.yaml", "".join(rules))
        eventually(lambda: updates() > before, 3)
        seen = []

        def is_so():
            seen[:] = [self.trial()]
            return seen[0] == wanted

        assert eventually(is_so, 10), f"{self.kind}: {seen[0]}, not {wanted}, of {rules}"

    def notes(self):
        """What the control plane says that the proxy is not told."""
        return json.loads(self.control.get("/debug/syncz"))[0]["unsupported"]

    def stop(self):
        """Ends everything."""
        self.proxy.stop()
        self.control.stop()
        self.application.stop()


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def street(request, tmp_path_factory):
    """One for all tests of a kind of proxy."""
    made = Street(request.param, tmp_path_factory.mktemp("street"))
    yield made
    assert sum(made.proxy.stats("update_rejected").values()) == 0, made.control.output()[-3000:]
    made.stop()


GOOD, BAD, OWN = "/good?x", "/bad?x", "/own?x"


def test_logs_follow_telemetry(street):
    """The closest one wins, each side for itself, until it is switched off, and on again."""
    everything = [GOOD, BAD, OWN]
    root = telemetry(f"[{to('text')}]", "mesh", "istio-system")
    assert street.trial() == {"mesh": everything}
    street.writes({"text": everything}, root)
    street.writes(
        {"text": [OWN], "json": [f'{{"path":"{GOOD}"}}', f'{{"path":"{BAD}"}}']}, root,
        telemetry(f"[{to('json', more=', match: {mode: SERVER}')}, "
                  f"{to('text', more=', match: {mode: CLIENT}')}]"))
    off = telemetry("[{disabled: true}]")
    street.writes({}, root, off)
    street.writes({"text": [OWN]}, root, off, telemetry(
        "[{disabled: false, match: {mode: CLIENT}}]", "own",
        more="selector: {matchLabels: {app: shop}}, "))
    street.writes({"mesh": everything})
    assert street.notes() == []


def test_expressions_choose(street):
    """Envoy evaluates them; ours compares statuses, and writes too much rather than too little."""
    is_envoy = street.kind == "envoy"
    errors = "filter: {expression: response.code >= 500}"
    street.writes({"text": [BAD]}, telemetry(
        f"[{to('text', more=', match: {mode: SERVER}, ' + errors)}, "
        "{match: {mode: CLIENT}, disabled: true}]"))
    assert street.notes() == []
    named = """filter: {expression: 'request.path.startsWith("/bad")'}"""
    street.writes({"text": [BAD] if is_envoy else [GOOD, BAD, OWN]},
                  telemetry(f"[{to('text', more=', ' + named)}]"))
    assert street.notes() == ([] if is_envoy else [
        "Telemetry default/t: accessLogging.filter: expressions are not evaluated: everything is logged"])


def test_operators_that_only_envoy_has(street):
    """They need a module of Envoy's; ours writes its usual line instead."""
    if street.kind == "envoy":
        street.writes({"bare": ["/good", "/bad", "/own"]}, telemetry(f"[{to('bare')}]"))
        return
    street.control.apply("telemetry.yaml", telemetry(f"[{to('bare')}]"))
    until(lambda: any('"GET /own?x HTTP/1.1"' in line for line in street.trial().get("bare", [])),
          10, "a line in the usual form")
    assert "extensionProviders.bare.envoyFileAccessLog.logFormat" in street.notes()[0]


def test_mistakes_change_nothing(street):
    """An expression that Envoy would refuse reaches nobody."""
    street.writes({"text": [GOOD, BAD, OWN]}, telemetry(f"[{to('text')}]"))
    street.control.apply("telemetry.yaml", telemetry(
        f"[{to('json', more=', filter: {expression: response.code = 500}')}]"))
    until(lambda: "no expression that Envoy would take" in street.control.get("/debug/configz"), 10,
          "the mistake to be told")
    assert street.trial() == {"text": [GOOD, BAD, OWN]}
