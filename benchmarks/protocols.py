"""The protocols beyond plain HTTP/1.1: what each scenario is, for every proxy that can do it.

Fairlead and Envoy run the same file. Each scenario replaces placeholders of the files in config/.
"""

import contextlib
import json
import re
import subprocess

import harness
from harness import Failure, Process

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def _socket(message, context, **extra):
    """A transport socket as one line of YAML."""
    config = {"@type": f"{_TLS}.{message}", "common_tls_context": context, **extra}
    return "transport_socket: " + json.dumps({"name": "tls", "typed_config": config})


def _pair(name):
    """A certificate with its key, as Envoy wants them."""
    return {"certificate_chain": {"filename": f"@WORK@/{name}.pem"},
            "private_key": {"filename": f"@WORK@/{name}.key"}}


_TRUST = {"trusted_ca": {"filename": "@WORK@/ca.pem"}}
_SERVER = {"tls_certificates": [_pair("server")]}
_ENVOY_H2_UPSTREAM = "typed_extension_protocol_options: " + json.dumps({_HTTP_OPTIONS: {
    "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
    "explicit_http_config": {"http2_protocol_options": {}}}})
_NGINX_TLS = ("ssl_certificate @WORK@/server.pem; ssl_certificate_key @WORK@/server.key;"
              " ssl_protocols TLSv1.2 TLSv1.3;")
_NGINX_CLIENTS = " ssl_verify_client on; ssl_client_certificate @WORK@/ca.pem;"
_HAPROXY_TLS = "ssl crt @WORK@/server.both ssl-min-ver TLSv1.2"


class Scenario:
    """One protocol on each side; the values of each proxy's placeholders, for those that can."""

    def __init__(self, title, load, upstream="upstream", envoy=None, nginx=None, haproxy=None):
        self.title = title
        self.load = load
        self.upstream = upstream
        envoy = {} if envoy is None else envoy
        self.values = {"fairlead": envoy, "envoy": envoy, "nginx": nginx, "haproxy": haproxy}

    def command(self, name, workspace):
        """How the proxy is started; None when it cannot do this."""
        values = self.values[name]
        if values is None:
            return None
        if name == "nginx":
            return [harness.find_program("nginx"), "-c",
                    workspace.configuration("nginx.conf", **values)]
        if name == "haproxy":
            return [harness.find_program("haproxy"), "-db", "-q", "-f",
                    workspace.configuration("haproxy.cfg", **values)]
        return _start(name, workspace.configuration("envoy.yaml", **values))


def _start(name, path):
    if name == "fairlead":
        return [harness.find_fairlead(), "-c", path, "--concurrency", "1", "-l", "warning"]
    return [harness.find_envoy(), "-c", path, "--concurrency", "1", "-l", "error",
            "--disable-hot-restart"]


def _wrk(scheme):
    """64 connections of wrk."""
    def load(options, seconds, _):
        result = harness.wrk(64, seconds, options.load_core, scheme=scheme)
        return result["requests"], result["errors"] + result["unexpected"]
    return load


def _h2load(options, seconds, _):
    """8 connections with 8 streams each, by prior knowledge."""
    command = ["taskset", "-c", str(options.load_core), harness.find_program("h2load"), "-c", "8",
               "-m", "8", "-D", str(seconds), f"http://127.0.0.1:{harness.PROXY}/benchmark"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    codes = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    if not done or not codes:
        raise Failure(f"h2load did nothing:\n{text}")
    succeeded, *bad = map(int, done.groups())
    return succeeded, sum(bad) + sum(map(int, codes.groups()))


def _secure(mode, connections, client_certificate=False):
    """secure_load, in one of its modes."""
    def load(options, seconds, workspace):
        arguments = ["-m", mode] if mode else []
        arguments += ["-a", workspace.folder / "ca.pem", "-c", connections, "-s", seconds]
        if client_certificate:
            arguments += ["-x", workspace.folder / "client.pem",
                          "-k", workspace.folder / "client.key"]
        command = ["taskset", "-c", str(options.load_core), harness.BUILT / "secure_load",
                   "-p", harness.PROXY, *arguments]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=False)
        result = json.loads(done.stdout or '{"requests": 0, "failed": 1, "resumed": 0}')
        # A client's first connection has nothing to resume.
        if mode == "resumed" and result["resumed"] < result["requests"] - connections:
            raise Failure(f"not resumed: {result}")
        return result["requests"], result["failed"]
    return load


_TLS_ONLY = {
    "envoy": {"TLS": _socket("DownstreamTlsContext", _SERVER)},
    "nginx": {"LISTEN": "ssl", "SERVER_LINES": _NGINX_TLS},
    "haproxy": {"BIND": _HAPROXY_TLS},
}

SCENARIOS = {
    "tls": Scenario("TLS 1.3 with HTTP/1.1, 64 connections", _wrk("https"), **_TLS_ONLY),
    "h2": Scenario(
        "HTTP/2 to HTTP/1.1, 8 connections with 8 streams each", _h2load, envoy={},
        nginx={"LISTEN": "http2"}, haproxy={"BIND": "proto h2"}),
    "h2h2": Scenario(
        "HTTP/2 to HTTP/2, 8 connections with 8 streams each", _h2load, upstream="upstream_h2",
        envoy={"UPSTREAM_PROTOCOL": _ENVOY_H2_UPSTREAM},
        haproxy={"BIND": "proto h2", "SERVER": "proto h2"}),
    "mtls": Scenario(
        "mutual TLS on both sides, HTTP/1.1, 64 connections", _secure("", 64, True),
        upstream="upstream.conf",
        envoy={
            "TLS": _socket("DownstreamTlsContext", {**_SERVER, "validation_context": _TRUST},
                           require_client_certificate=True),
            "UPSTREAM_TLS": _socket(
                "UpstreamTlsContext", {"tls_certificates": [_pair("client")],
                                       "validation_context": _TRUST}, sni="localhost")},
        nginx={
            "LISTEN": "ssl", "SERVER_LINES": _NGINX_TLS + _NGINX_CLIENTS, "SCHEME": "https",
            "PROXY_LINES": (
                "proxy_ssl_certificate @WORK@/client.pem; proxy_ssl_certificate_key"
                " @WORK@/client.key; proxy_ssl_trusted_certificate @WORK@/ca.pem; proxy_ssl_verify"
                " on; proxy_ssl_name localhost; proxy_ssl_server_name on;"
                " proxy_ssl_protocols TLSv1.3;")},
        haproxy={
            "BIND": _HAPROXY_TLS + " verify required ca-file @WORK@/ca.pem",
            "SERVER": ("ssl crt @WORK@/client.both verify required ca-file @WORK@/ca.pem"
                       " verifyhost localhost sni str(localhost)")}),
    "full": Scenario(
        "full handshakes (ECDSA P-256), each with one request", _secure("full", 16), **_TLS_ONLY),
    "resumed": Scenario(
        "resumed handshakes, each with one request", _secure("resumed", 16), **_TLS_ONLY),
}

# Our CPU time at most, as a share of Envoy's, and of the best peer's.
OF_ENVOY, OF_BEST = 0.5, 0.9
OF_NGINX_PER_HANDSHAKE = 1.05
HANDSHAKES = ("full", "resumed")
HELD = 4000
HELD_BEFORE = 1000


def make_certificates(folder):
    """A CA, and a server's and a client's certificate: ECDSA P-256, for localhost."""
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", 2,
            "-subj", "/CN=benchmark CA")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", "names", "-out", f"{name}.pem")
        both = (folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.both").write_text(both)
        # nginx's worker is another user.
        (folder / f"{name}.key").chmod(0o644)


@contextlib.contextmanager
def _upstream(scenario, workspace, options):
    if scenario.upstream == "upstream.conf":
        command = [harness.find_program("nginx"), "-c", workspace.configuration(
            scenario.upstream, BODY="x" * 1024)]
    else:
        command = [harness.BUILT / scenario.upstream, harness.UPSTREAM]
    with Process(command, harness.UPSTREAM, options.load_core):
        yield


def measure(scenario, name, workspace, options):
    """Microseconds of the proxy's CPU for a request; None when it cannot do this."""
    command = scenario.command(name, workspace)
    if command is None:
        return None
    with Process(command, harness.PROXY, options.proxy_core) as proxy:
        scenario.load(options, 1, workspace)
        before = proxy.cpu_nanoseconds()
        requests, failed = scenario.load(options, options.seconds, workspace)
        spent = proxy.cpu_nanoseconds() - before
    if failed or not requests:
        raise Failure(f"{name}, {scenario.title}: {requests} requests, {failed} failed")
    return spent / requests / 1000


def measure_held(name, workspace, options):
    """Kilobytes of resident memory for an idle TLS connection that made one request: what four
    thousand cost besides a thousand, which have brought everything that is not a connection's."""
    with Process(SCENARIOS["tls"].command(name, workspace), harness.PROXY,
                 options.proxy_core) as proxy:
        with _held(name, HELD_BEFORE, workspace, options):
            before = proxy.resident_kilobytes()
            with _held(name, HELD, workspace, options):
                return (proxy.resident_kilobytes() - before) / HELD


@contextlib.contextmanager
def _held(name, count, workspace, options):
    """So many idle TLS connections."""
    holder = subprocess.Popen(
        ["taskset", "-c", str(options.load_core), harness.BUILT / "secure_load", "-p",
         str(harness.PROXY), "-m", "hold", "-c", str(count), "-a", workspace.folder / "ca.pem"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "holding\n":
            raise Failure(f"{name}: could not hold {count} TLS connections")
        yield
    finally:
        holder.stdin.close()
        holder.wait()


def tcp_command(name, workspace):
    """How a proxy of plain bytes is started. HAProxy may splice, which is its best."""
    if name == "nginx":
        return [harness.find_program("nginx"), "-c", workspace.configuration(
            "nginx-tcp.conf", MODULES="/usr/lib/nginx/modules")]
    if name == "haproxy":
        return [harness.find_program("haproxy"), "-db", "-q", "-f",
                workspace.configuration("haproxy-tcp.cfg")]
    if name == "haproxy, splice":
        return [harness.find_program("haproxy"), "-db", "-q", "-f",
                workspace.configuration("haproxy-tcp.cfg", SPLICE="option splice-response")]
    return _start(name, workspace.configuration("tcp.yaml"))


def measure_tcp(name, workspace, options):
    """Gigabytes that pass for one second of the proxy's CPU, from upstream to 16 clients."""
    take = ["taskset", "-c", str(options.load_core), harness.BUILT / "pour", "take",
            str(harness.PROXY), "16"]
    with Process(tcp_command(name, workspace), harness.PROXY, options.proxy_core) as proxy:
        subprocess.run([*take, "0.5"], check=True, stdout=subprocess.DEVNULL)
        before = proxy.cpu_nanoseconds()
        done = subprocess.run([*take, str(options.seconds)], check=True, stdout=subprocess.PIPE,
                              text=True)
        return int(done.stdout) / (proxy.cpu_nanoseconds() - before)


def run(options, workspace, note, progress):
    """Every scenario, interleaved; `note(name, key, value)` takes each figure."""
    make_certificates(workspace.folder)
    for number in range(options.rounds):
        shift = number % len(options.proxies)
        order = options.proxies[shift:] + options.proxies[:shift]
        for key, scenario in SCENARIOS.items():
            with _upstream(scenario, workspace, options):
                for name in order:
                    progress(f"round {number + 1}: {name}, {scenario.title}")
                    value = measure(scenario, name, workspace, options)
                    if value is not None:
                        note(name, key, value)
        with Process([harness.BUILT / "pour", "serve", str(harness.UPSTREAM)], harness.UPSTREAM,
                     options.load_core):
            for name in order + ["haproxy, splice"] * ("haproxy" in order):
                progress(f"round {number + 1}: {name}, tcp")
                note(name, "tcp", measure_tcp(name, workspace, options))
        with _upstream(SCENARIOS["tls"], workspace, options):
            for name in order:
                progress(f"round {number + 1}: {name}, memory of TLS connections")
                note(name, "held", measure_held(name, workspace, options))


def report(figures, options):
    """Prints the tables; gives what missed its target."""
    median = harness.medians(figures)
    ours = median.get("fairlead")
    missed = []

    def share(key, name, ours_first=True):
        """Our figure as a share of theirs; for what should be large, theirs as a share of ours."""
        if ours is None or name == "fairlead":
            return None
        pair = ours[key], median[name][key]
        return pair[0] / pair[1] if ours_first else pair[1] / pair[0]

    def judge(what, value, target, whose):
        if value is not None and value > target:
            missed.append(f"{what}: {value:.2f} of {whose}'s, the target is {target:.2f}")

    for key, scenario in SCENARIOS.items():
        able = [name for name in options.proxies if key in median[name]]
        shares = {name: share(key, name) for name in able}
        harness.print_table(
            f"{scenario.title}, 1 KB bodies, medians of {options.rounds} rounds",
            ["proxy", "CPU µs per request", "(lowest, highest)", "Fairlead's share of it"],
            [[name, f"{median[name][key]:.2f}",
              f"({min(figures[name][key]):.1f}, {max(figures[name][key]):.1f})",
              "" if shares[name] is None else f"{shares[name]:.2f}"] for name in able])
        if key in HANDSHAKES:
            judge(scenario.title, shares.get("nginx"), OF_NGINX_PER_HANDSHAKE, "nginx")
            continue
        judge(scenario.title, shares.get("envoy"), OF_ENVOY, "envoy")
        best = max((one for one in shares.values() if one is not None), default=None)
        judge(scenario.title, best, OF_BEST, "the best peer")

    names = [name for name in (*options.proxies, "haproxy, splice") if name in median]
    harness.print_table(
        "tcp_proxy, 16 connections, upstream to client",
        ["proxy", "GB per second of CPU", "its share of Fairlead's"],
        [[name, f"{median[name]['tcp']:.2f}",
          "" if share("tcp", name) is None else f"{share('tcp', name, False):.2f}"]
         for name in names])
    if "haproxy" in median:
        judge("tcp_proxy, CPU per byte", share("tcp", "haproxy", False), 1.0, "haproxy")

    harness.print_table(
        f"Resident memory of an idle TLS connection, KB, mean of {HELD:,}",
        ["proxy", "KB", "Fairlead's share of it"],
        [[name, f"{median[name]['held']:.1f}",
          "" if share("held", name) is None else f"{share('held', name):.2f}"]
         for name in options.proxies])
    if "nginx" in median:
        judge("memory of an idle TLS connection", share("held", "nginx"), 1.0, "nginx")
    return missed
