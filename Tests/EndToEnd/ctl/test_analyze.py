"""What `fairleadctl validate` and `analyze` say, of files and of a control plane."""

import json
import subprocess

import pytest

from harness.mesh import DECK, MeshControl, pod, service
from harness.tool import tool_binary
from harness.waiting import until

BAD = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad}
spec:
  hosts: [bad]
  http:
  - timeout: 1s
"""

LOST = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost}
spec:
  hosts: [lost]
  http:
  - route:
    - destination:
        host: nobody
"""

GOOD = (DECK + service("service-go", 8080) + pod("go-1", "service-go", "v1", "127.0.0.1")
        + pod("go-2", "service-go", "v2", "127.0.0.2"))


def tool(*arguments, stdin=None):
    """What fairleadctl answers: code, output, notes."""
    done = subprocess.run([tool_binary(), *arguments], input=stdin, capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_validate(tmp_path):
    """Each mistake has its place, and what is good is said to be."""
    good = tmp_path / "good.yaml"
    good.write_text(GOOD)
    assert tool("validate", "-f", str(good)) == (0, f'"{good}" is valid\n', "")
    code, out, _ = tool("validate", "-f", "-", stdin=GOOD + BAD)
    line = (GOOD + BAD).splitlines().index("  - timeout: 1s") + 1
    assert code == 1
    assert out.startswith(f"standard input:{line}:5: spec.http[0]: an HTTP route has a 'route'"), out
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "bad.yml").write_text(BAD)
    assert tool("validate", str(tmp_path))[0] == 0
    assert tool("validate", "-R", str(tmp_path))[0] == 1
    assert tool("validate")[0] == 64
    assert tool("validate", "-f", str(tmp_path / "none"))[0] == 1


def test_analyze_files(tmp_path):
    """Lines as istioctl writes them, and its exit code."""
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)
    code, out, notes = tool("analyze", str(path))
    assert (code, out) == (0, ""), (out, notes)
    assert "No validation issues found" in notes
    path.write_text(GOOD + LOST)
    line = (GOOD + LOST).splitlines().index("        host: nobody") + 1
    expected = f'Error [IST0101] (VirtualService default/lost {path}:{line}) ' \
        'Referenced host not found: "nobody"\n'
    assert tool("analyze", str(path))[:2] == (79, expected)
    assert tool("analyze", "--color", "true", str(path))[1].startswith("\x1b[1;31mError\x1b[0m [")
    code, out, _ = tool("analyze", "-o", "json", str(path))
    assert code == 79
    assert json.loads(out) == [{
        "code": "IST0101", "level": "Error", "message": 'Referenced host not found: "nobody"',
        "documentationUrl":
            "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
        "origin": "VirtualService default/lost", "reference": f"{path}:{line}",
        "field": "spec.http[0].route[0].destination.host"}]
    assert "code: IST0101" in tool("analyze", "-o", "yaml", str(path))[1]
    assert tool("analyze", "-S", "IST0101=VirtualService *", str(path))[:2] == (0, "")
    code, out, notes = tool("analyze", "-n", "other", str(path))
    assert (code, out) == (0, "") and "-A shows them" in notes
    assert tool("analyze", "-A", str(path))[0] == 79
    unnamed = tmp_path / "unnamed.yaml"
    unnamed.write_text(service("web", 80, protocol="web") + pod("w", "web", "v1", "127.0.0.1"))
    assert tool("analyze", str(unnamed))[0] == 0
    assert "[IST0118]" in tool("analyze", str(unnamed))[1]
    assert tool("analyze", "--output-threshold", "warning", str(unnamed))[1] == ""
    assert tool("analyze", "--failure-threshold", "Info", str(unnamed))[0] == 79


@pytest.fixture(name="control")
def _control(tmp_path):
    made = MeshControl(tmp_path)
    made.apply("mesh.yaml", GOOD)
    made.start()
    yield made
    made.stop()


def test_analyze_live(control):
    """The control plane looks by itself, and names the bad one among a hundred."""
    address = f"127.0.0.1:{control.http}"
    code, out, notes = tool("analyze", "--control", address)
    assert (code, out) == (0, ""), (out, notes)
    rules = "".join(f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r{number}}}
spec: {{hosts: [r{number}.test], http: [{{directResponse: {{status: 200}}}}]}}
""" for number in range(99))
    control.apply("rules.yaml", rules + BAD + LOST)
    control.wait_log("an HTTP route has a 'route'")

    def analyzed():
        page = json.loads(control.get("/debug/analysis"))
        return not page["pending"] and {one["object"] for one in page["messages"]} == {
            "bad", "lost"}

    until(analyzed, 10, "both to be found")
    code, out, _ = tool("analyze", "--control", address)
    assert code == 79
    lines = out.splitlines()
    path = control.folder / "rules.yaml"
    text = (rules + BAD + LOST).splitlines()
    host, timeout = text.index("        host: nobody") + 1, text.index("  - timeout: 1s") + 1
    assert lines[0] == f'Error [IST0101] (VirtualService default/lost {path}:{host}) ' \
        'Referenced host not found: "nobody"'
    assert lines[1].startswith(f"Error [IST0106] (VirtualService default/bad {path}:{timeout}) ")
    assert len(lines) == 2

    objects = {one["name"]: one for one in json.loads(control.get("/debug/configz"))["objects"]
               if one["kind"] == "VirtualService"}
    assert sum(one["inForce"] for one in objects.values()) == 101
    assert objects["bad"]["status"]["conditions"][0]["reason"] == "ValidationFailed"
    assert objects["r1"]["status"]["conditions"][0]["status"] == "True"
    assert [one["type"]["code"] for one in objects["lost"]["status"]["validationMessages"]] == [
        "IST0101"]
    code, out, _ = tool("ps", "--control", address)
    assert code == 0 and "VirtualService default/bad" in out and "default/lost" in out
    metrics = control.get("/metrics")
    assert 'fairlead_analysis_messages{level="Error"} 2' in metrics
    assert "galley_validation_failed 1" in metrics

    code, _, notes = tool("apply", "--control", address, "-f", "-", stdin=BAD.replace(
        "name: bad", "name: refused"))
    assert code == 1 and "spec.http[0]: an HTTP route has a 'route'" in notes, notes

    control.remove("rules.yaml")
    until(lambda: tool("analyze", "--control", address)[0] == 0, 10, "nothing to be found")
