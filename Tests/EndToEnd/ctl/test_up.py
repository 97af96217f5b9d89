"""`fairleadctl up` and `down`: a whole mesh as processes, and nothing of it afterwards."""

import collections
import http.client
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from harness.client import fetch
from harness.mesh import subnet
from harness.ports import free_port
from harness.tool import tool, tool_binary
from harness.waiting import until

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples"


class LocalMesh:
    """A mesh of the deck's files, which a test may change."""

    def __init__(self, directory):
        # The deck's programs are found beside its directory.
        shutil.copy(EXAMPLES / "upstream.py", directory)
        self.files = directory / "deck"
        shutil.copytree(EXAMPLES / "deck", self.files)
        self.place = directory / "place"
        self.prefix = ".".join(subnet().split(".")[:2])
        self.control = free_port()
        self.proxy = f"{self.prefix}.2.1"

    def up(self, *extra):
        """Brings it up in the background."""
        return tool("up", "--detach", *self.options(), *extra, self.files)

    def options(self):
        """Where it is, so that other tests' meshes may be up as well."""
        return ["--directory", str(self.place), "--subnet", self.prefix, "--control",
                f"127.0.0.1:{self.control}", "--discovery", f"127.0.0.1:{free_port()}", "--identity",
                f"127.0.0.1:{free_port()}"]

    def down(self, *extra):
        """Takes it down."""
        return tool("down", "--directory", self.place, *extra)

    @property
    def owner(self):
        """The process that runs it, and the mark of all its processes."""
        process, mark = (self.place / "state").read_text().split()
        return int(process), mark

    def split(self, count):
        """So many requests by the client's proxy; how many were answered by whom."""
        found = collections.Counter()
        connection = http.client.HTTPConnection(self.proxy, 15080, timeout=10)
        for _ in range(count):
            connection.request("GET", "http://service-go:8080/")
            answer = connection.getresponse()
            found[answer.status, answer.read().decode().strip()] += 1
        connection.close()
        return found


def processes(mark):
    """All processes that have the mark in their environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"FAIRLEAD_UP={mark}".encode() in \
                    (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def running(process):
    """Whether a process is more than its exit code."""
    try:
        return bool(pathlib.Path(f"/proc/{process}/environ").read_bytes())
    except OSError:
        return False


@pytest.fixture
def mesh(tmp_path):
    """One that is taken down in the end, whatever happened."""
    one = LocalMesh(tmp_path)
    yield one
    subprocess.run([tool_binary(), "down", "--directory", str(one.place)], check=False,
                   capture_output=True, timeout=60)


def test_deck_is_split_and_rules_are_followed(mesh):
    said = mesh.up().out
    assert float(re.search(r"Everything is live after ([\d.]+) s", said)[1]) < 10
    assert "service-go-v2-0.default" in said

    found = mesh.split(2000)
    assert set(found) == {(200, "v1"), (200, "v2")}
    assert abs(found[200, "v1"] - 1400) < 5 * math.sqrt(2000 * 0.7 * 0.3)

    control = ["--control", f"127.0.0.1:{mesh.control}"]
    names = [row[0] for row in tool("ps", *control).rows[1:]]
    assert names == ["client-0.default", "service-go-v1-0.default", "service-go-v2-0.default"]
    assert "service-go" in tool("pc", "route", "client-0.default", *control).out

    rules = (mesh.files / "rules.yaml").read_text()
    (mesh.files / "rules.yaml").write_text(
        rules.replace("weight: 70", "weight: 0").replace("weight: 30", "weight: 100"))
    until(lambda: set(mesh.split(20)) == {(200, "v2")}, 10, "the new weights to be followed")


def test_service_port_is_served_to_those_who_know_no_proxy(mesh):
    """In passing: proxies are started as ProxyConfig says."""
    (mesh.files / "proxies.yaml").write_text("""
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: all}
spec: {environmentVariables: {GREETING: hello, HOME: /}, image: {imageType: debug}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: client}
spec: {selector: {matchLabels: {app: client}}, concurrency: 2}
""")
    assert "'image' is not run here" in mesh.up().out
    answer = fetch(8080, host="service-go", address=mesh.proxy)
    assert answer.status == 200

    def threads(number):
        page = fetch(15000, "/stats?filter=server.concurrency", address=f"{mesh.prefix}.0.{number}")
        return page.body.decode().strip()

    assert threads(1) == "server.concurrency: 2"
    assert threads(2) == "server.concurrency: 1"
    proxies = [pathlib.Path(f"/proc/{one}/environ").read_bytes().split(b"\0")
               for one in processes(mesh.owner[1])
               if b"--ca-token-path" in pathlib.Path(f"/proc/{one}/cmdline").read_bytes()]
    assert len(proxies) == 3
    assert all(b"GREETING=hello" in one and b"HOME=/" in one for one in proxies)


def test_what_a_killed_mesh_leaves_is_taken_down(mesh):
    mesh.up()
    owner, mark = mesh.owner
    assert len(processes(mark)) == 7
    os.kill(owner, signal.SIGKILL)
    mesh.down()
    assert processes(mark) == []
    assert not mesh.place.exists()


def test_down_leaves_nothing_but_logs_if_asked(mesh):
    mesh.up("--keep-logs")
    owner, mark = mesh.owner
    mesh.down()
    assert processes(mark) == []
    # It may be there still as what its parent has not asked about.
    assert not running(owner)
    assert [entry.name for entry in mesh.place.iterdir()] == ["logs"]
    # A mesh may be up there again.
    mesh.up()
    mesh.down()
    assert not mesh.place.exists()
    assert "nothing is up" in mesh.down().err


def test_program_that_ends_is_shown_and_started_again(mesh):
    mesh.up()
    _, mark = mesh.owner
    victim = next(one for one in processes(mark)
                  if b"upstream.py\0v1" in pathlib.Path(f"/proc/{one}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    log = mesh.place / "logs" / "up.log"
    until(lambda: "service-go-v1-0.default app was ended by signal 9" in log.read_text(), 10,
          "the end to be told")
    until(lambda: (200, "v1") in mesh.split(20), 10, "the program to serve again")


def test_second_mesh_is_refused_in_the_same_place(mesh):
    mesh.up()
    refused = tool("up", *mesh.options(), mesh.files, code=1)
    assert "a mesh is up already" in refused.err


def test_mistake_is_told_with_its_line_and_nothing_is_left(mesh):
    rules = mesh.files / "rules.yaml"
    rules.write_text(rules.read_text().replace("weight: 70", "wait: 70"))
    refused = tool("up", *mesh.options(), mesh.files, code=1)
    assert re.search(r"rules\.yaml:28:\d+: .*wait", refused.err), refused.err
    assert not mesh.place.exists()
