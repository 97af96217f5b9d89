"""Runs cases through one proxy: one process for all of them, a listener for each."""

import concurrent.futures
import re
from dataclasses import dataclass, field

from harness.client import Connection, ConnectionEnded, ProtocolError
from harness.proxy import Proxy, StartFailure, bootstrap, free_port
from harness.upstream import BlackHole, Upstream, refusing_port
from harness.waiting import eventually

from .model import cluster_config, listener_config, resolved, upstream_names

# Cases at once: they mostly wait, for timeouts above all.
PARALLEL_CASES = 16

# How long a connection that was announced as closing may take to end.
CLOSE_SECONDS = 3.0

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d\d:\d\d:\d\d GMT")


@dataclass
class Observation:
    """All that could be seen of one case through one proxy, without what differs by nature."""

    responses: list = field(default_factory=list)
    upstreams: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    log: list = field(default_factory=list)
    stats: dict = field(default_factory=dict)
    # What went wrong with the case itself.
    failure: str = None


class Run:
    """One case in one running proxy: the means a scenario has."""

    def __init__(self, one, proxy):
        self.case = one
        self.proxy = proxy
        self.observation = Observation()
        self.ports = {"": free_port()}
        self.upstreams = {}
        # The proxy died while the case ran.
        self.interrupted = False
        self._held = []
        self._connections = {}
        for name in upstream_names(one):
            self.ports[name] = self._open(name, one.upstreams.get(name))

    def _open(self, name, behaviour):
        if behaviour == "refused":
            sock, port = refusing_port()
            self._held.append(sock)
            return port
        upstream = BlackHole() if behaviour == "blackhole" else Upstream(behaviour)
        self._held.append(upstream)
        if behaviour != "blackhole":
            self.upstreams[name] = upstream
        return upstream.port

    @property
    def port(self):
        """The case's listener."""
        return self.ports[""]

    def fragments(self, log_file):
        """The case's listener and clusters, ready for a bootstrap."""
        clusters = [cluster_config(name, more) for name, more in self.case.clusters.items()]
        whole = {"listener": listener_config(self.case, log_file), "clusters": clusters}
        whole = resolved(whole, self.case.tag, self.ports, str(log_file))
        return whole["listener"], whole["clusters"]

    def connect(self, **options):
        """A new client connection to the case's listener."""
        return Connection(self.port, **options)

    def note(self, name, value):
        """Adds something to what is compared."""
        self.observation.notes.append(f"{name}: {self.normalised(value)}")

    def send(self, step):
        """Sends a step's request and records the answer."""
        connection = self._connections.get(step.connection)
        if connection is None or not connection.is_open():
            connection = self.connect()
            if step.connection:
                self._connections[step.connection] = connection
        connection.send(resolved(step.data, self.case.tag, self.ports))
        response = self.record(connection, step.method)
        if step.connection is None:
            connection.close()
        return response

    def record(self, connection, method="GET", timeout=10.0):
        """Reads one response and records it, whole or not."""
        seen = {}
        self.observation.responses.append(seen)
        try:
            response = connection.read_response(method, timeout)
        except ConnectionEnded as end:
            seen["ended"] = "before the response's end"
            seen["received"] = "nothing" if not end.received else "something"
            return None
        except (ProtocolError, TimeoutError) as problem:
            seen["problem"] = f"{type(problem).__name__}: {problem}"
            return None
        seen["line"] = f"{response.version} {response.status} {response.reason}"
        seen["status"] = response.status
        if response.informational:
            seen["informational"] = [r.status for r in response.informational]
        seen["headers"] = self._headers(response.headers)
        seen["framing"] = response.framing
        seen["body"] = self.normalised(response.body.decode("latin-1"))
        if response.trailers:
            seen["trailers"] = response.trailers
        if "close" in [v.lower() for v in response.values("connection")]:
            seen["ends after close"] = connection.ends_within(CLOSE_SECONDS)
        return response

    def _headers(self, headers):
        result = []
        for name, value in headers:
            if name.lower() == "date" and _DATE.fullmatch(value):
                value = "<date>"
            elif name.lower() == "x-envoy-upstream-service-time" and value.isdecimal():
                value = "<n>"
            elif name == "x-envoy-expected-rq-timeout-ms" and value.isdecimal():
                # What is left after earlier tries: the next half second above.
                value = str(-(-int(value) // 500) * 500)
            result.append(f"{name}: {self.normalised(value)}")
        return sorted(result, key=lambda line: line.partition(":")[0])

    def normalised(self, value):
        """Ports and names become those of the case, random ids a mark."""
        # Random ids first: a case's tag is all hexadecimal digits, and may stand in one of them.
        text = _UUID.sub("<uuid>", str(value))
        text = text.replace(f"{self.case.tag}_", "").replace(self.case.tag, "<case>")
        for name, port in self.ports.items():
            mark = f"<{name or 'listener'}>"
            text = mark if text == str(port) else text.replace(f":{port}", f":{mark}")
        return text

    def play(self):
        """Runs the case."""
        if not self.proxy.alive():
            return
        try:
            if self.case.scenario:
                self.case.scenario(self)
            for step in self.case.steps:
                self.send(step)
        except Exception as problem:  # pylint: disable=broad-except
            self.observation.failure = f"{type(problem).__name__}: {problem}"
        finally:
            for connection in self._connections.values():
                connection.close()
            self.interrupted = not self.proxy.alive()

    def collect_upstreams(self):
        """Records what the upstreams saw; called when the proxy has come to rest."""
        for name, upstream in self.upstreams.items():
            self.observation.upstreams[name] = [
                {
                    "line": self.normalised(f"{r.method} {r.target} {r.version}"),
                    "headers": self._headers(r.headers),
                    "body": self.normalised(r.body.decode("latin-1")),
                    "complete": r.complete,
                    "trailers": r.trailers,
                }
                for r in list(upstream.requests)
            ]

    def close(self):
        """Releases the case's upstreams."""
        for held in self._held:
            held.stop() if hasattr(held, "stop") else held.close()


def _bootstrap(runs, admin_port, log_file):
    listeners, clusters, runtime = [], [], {}
    for run in runs:
        listener, own = run.fragments(log_file)
        listeners.append(listener)
        clusters += own
        runtime.update(resolved(run.case.runtime, run.case.tag, run.ports))
    layers = [{"name": "static", "static_layer": runtime}]
    return bootstrap(listeners, clusters, admin_port, layered_runtime={"layers": layers})


def _start(kind, runs):
    """Starts a proxy with all cases; a case whose configuration is refused is left out."""
    proxy = Proxy(kind)
    log_file = proxy.directory / "access.log"
    try:
        document = _bootstrap(runs, free_port(), log_file)
        return proxy.start(document, name="bootstrap.json"), runs
    except StartFailure:
        proxy.stop()

    def check(indexed):
        index, run = indexed
        return Proxy(kind).validate(_bootstrap([run], None, log_file), f"{index}.json")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(check, enumerate(runs)))
    accepted = []
    for run, (code, output) in zip(runs, verdicts):
        if code == 0:
            accepted.append(run)
        else:
            run.observation.failure = f"configuration refused: {output.strip()[-1500:]}"
    proxy = Proxy(kind)
    log_file = proxy.directory / "access.log"
    document = _bootstrap(accepted, free_port(), log_file)
    return proxy.start(document, name="bootstrap.json"), accepted


def observe(kind, cases):
    """Runs all cases through one proxy; returns observations by case name.

    A proxy that dies takes the cases that were running with it; each of those then gets a process
    of its own, to find the culprit, and the others start again without them.
    """
    observations = {}
    cases = list(cases)
    while cases:
        seen, suspects = _observe_together(kind, cases)
        observations.update(seen)
        for one in suspects:
            alone, died = _observe_together(kind, [one])
            observations.update(alone)
            if died:
                observations[one.name].failure = "the proxy died"
        cases = [one for one in cases if one.name not in observations]
    return observations


def _observe_together(kind, cases):
    """One process for all; returns (observations, the cases that ran when it died)."""
    every = [Run(one, None) for one in cases]
    try:
        proxy, runs = _start(kind, every)
        for run in runs:
            run.proxy = proxy
        with proxy:
            with concurrent.futures.ThreadPoolExecutor(PARALLEL_CASES) as pool:
                list(pool.map(Run.play, runs))
            if not proxy.alive():
                print(f"{kind} died: {proxy.output()[-4000:]}")
                suspects = [run.case for run in runs if run.interrupted] or [runs[-1].case]
                if len(cases) > 1:
                    return {}, suspects
                return {run.case.name: run.observation for run in every}, suspects
            stats = _stats_at_rest(proxy)
            for run in runs:
                run.collect_upstreams()
            _share_out_stats(stats, runs)
        log = proxy.directory / "access.log"
        if log.exists():
            _share_out_log(log.read_text("latin-1").split("\n"), runs)
        if proxy.process.returncode not in (0, -15):
            raise AssertionError(
                f"{kind} exited with {proxy.process.returncode}:\n{proxy.output()[-4000:]}")
    finally:
        for run in every:
            run.close()
    return {run.case.name: run.observation for run in every}, []


def _share_out_stats(stats, runs):
    """Gives each case the statistics that carry its tag or its listener's port."""
    by_tag = {run.case.tag: run for run in runs}
    by_port = {str(run.port): run for run in runs}
    mark = re.compile(r"\b(c\d{4})(?:_|\b)|(?<=127\.0\.0\.1_)(\d+)\b")
    for name, value in stats.items():
        if value and (found := mark.search(name)):
            run = by_tag.get(found.group(1)) or by_port.get(found.group(2))
            if run:
                own = name[: found.start()] + "@" + name[found.end() :]
                run.observation.stats[own] = value


def _share_out_log(lines, runs):
    """Gives each case its own lines of the access log."""
    by_tag = {run.case.tag: run for run in runs}
    for line in lines:
        tag, *fields = line.split("\t")
        if run := by_tag.get(tag):
            pairs = [run.normalised(text).partition("=") for text in fields]
            run.observation.log.append({name: value for name, _, value in pairs})
        elif found := re.match(r'\{"@case":"(c\d{4})"', line):
            run = by_tag[found.group(1)]
            run.observation.log.append({"json": run.normalised(line)})


def _stats_at_rest(proxy):
    """All statistics, once no downstream request or connection is left."""


    def at_rest():
        open_now = proxy.stats("downstream_cx_active")
        return not any(value for name, value in open_now.items() if name.startswith("http.c"))

    if not eventually(at_rest, 4.0):
        print("downstream connections stay open after the last case")
    return proxy.stats()
