"""A control plane over a directory of resources, workloads on loopback, and clients of three kinds."""

import http.server
import itertools
import os
import re
import threading

from .client import fetch
from .control import Control, control_binary, proxy_bootstrap
from .ports import WORKER, free_port
from .proxy import Proxy

_subnets = itertools.count(WORKER * 5000 + os.getpid() % 200)


def subnet():
    """`127.x.y`: addresses of loopback that no other test of this machine uses."""
    number = next(_subnets)
    return f"127.{number // 250 % 100 + 10}.{number % 250}"


DECK = """
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: service-go
spec:
  host: service-go
  subsets:
  - name: v1
    labels:
      version: v1
  - name: v2
    labels:
      version: v2
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: service-go
spec:
  hosts:
  - service-go
  http:
  - route:
    - destination:
        host: service-go
        subset: v1
      weight: 70
    - destination:
        host: service-go
        subset: v2
      weight: 30
"""


def service(name, port, target=None, selector=None, protocol="http"):
    """A Service of one port; it selects the pods with its name as `app`."""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {selector or f'{{app: {name}}}'}
  ports: [{{name: {protocol}, port: {port}, targetPort: {target or port}}}]
"""


def pod(name, app, version, address):
    """A Pod that runs."""
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}, version: {version}}}}}
status: {{phase: Running, podIP: {address}}}
"""


class MeshControl(Control):
    """A control plane that serves what stands in a directory."""

    def __init__(self, directory):
        self.folder = directory / "config"
        self.folder.mkdir()
        self.http = 0
        super().__init__(directory)

    def put(self, *resources):
        """Nothing: files are written one by one."""

    def apply(self, name, text):
        """Moves a text into a file's place."""
        fresh = self.folder / f".{name}.new"
        fresh.write_text(text)
        os.rename(fresh, self.folder / name)

    def remove(self, name):
        """Takes a file away."""
        (self.folder / name).unlink()

    def arguments(self):
        """How it is started, but for where it serves."""
        return [control_binary(), "--config-dir", str(self.folder), "--http-addr",
                f"127.0.0.1:{self.http}"]

    def start(self, *extra):
        super().start(*extra)
        self.http = int(re.findall(r"over HTTP on 127\.0\.0\.1:(\d+)", self.output())[-1])
        return self

    def get(self, path):
        """A page."""
        answer = fetch(self.http, path)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.body.decode()


class Workload:
    """An application that answers with its name, at an address and a port of its own."""

    def __init__(self, address, port, name, reply=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self):
                workload.requests.append((self.command, self.path, dict(self.headers.items())))
                status, fields, body = (reply or (lambda _: (200, {}, name.encode())))(self)
                self.send_response(status)
                for field, value in fields.items():
                    self.send_header(field, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            do_POST = do_OPTIONS = do_GET

            def log_message(self, *_):
                """Nothing."""

        workload = self
        self.requests = []
        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()


def sidecar(kind, control, delta, address, name="client", namespace="default", labels=None,
            role="sidecar", **metadata):
    """A proxy of the mesh that captures nothing, started; its clients connect to `address`."""
    document = proxy_bootstrap(control.port, free_port(), delta)
    document["node"] = {
        "id": f"{role}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local",
        "cluster": f"{name}.{namespace}",
        "metadata": {"INTERCEPTION_MODE": "NONE", "BIND_ADDRESS": address,
                     "LABELS": labels or {}, **metadata}}
    proxy = Proxy(kind)
    proxy.start(document, ("--concurrency", "1"))
    return proxy
