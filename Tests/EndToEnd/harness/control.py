"""The control plane as a process, and the resources that it is given."""

import os
import pathlib
import re
import signal
import subprocess

import yaml

from .proxy import fairlead_binary
from .simple import address, listener
from .waiting import until

TYPES = "type.googleapis.com/envoy.config."
LISTENER = TYPES + "listener.v3.Listener"
ROUTES = TYPES + "route.v3.RouteConfiguration"
CLUSTER = TYPES + "cluster.v3.Cluster"
ENDPOINTS = TYPES + "endpoint.v3.ClusterLoadAssignment"
ADS = {"ads": {}, "resource_api_version": "V3"}


def control_binary():
    """`FAIRLEAD_CONTROL_BIN`, or what stands beside the proxy."""
    chosen = os.environ.get("FAIRLEAD_CONTROL_BIN")
    return chosen or str(pathlib.Path(fairlead_binary()).parent / "fairlead-control")


def ads_listener(name, port, routes="local"):
    """A listener whose routes come from the control plane."""
    one = listener(name, port)
    manager = one["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    manager["rds"] = {"route_config_name": routes, "config_source": ADS}
    return {"@type": LISTENER, **one}


def ads_cluster(name, **extra):
    """A cluster whose endpoints come from the control plane."""
    return {"@type": CLUSTER, "name": name, "type": "EDS", "connect_timeout": "1s",
            "eds_cluster_config": {"eds_config": ADS}, **extra}


def endpoints(name, *ports):
    """The endpoints of a cluster, on loopback."""
    return {"@type": ENDPOINTS, "cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in ports]}]}


def routes(name, *entries):
    """A route configuration with one virtual host for everything."""
    return {"@type": ROUTES, "name": name, "virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": list(entries)}]}


def to(cluster, prefix="/"):
    """A route to a cluster."""
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "5s"}}


def proxy_bootstrap(control_port, admin_port, delta):
    """What a proxy starts with that has everything else from the control plane."""
    control = {
        "name": "control", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                         "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
        "load_assignment": {"cluster_name": "control", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(control_port)}}]}]}}
    return {
        "node": {"id": "sidecar-1", "cluster": "test-cluster"},
        "admin": {"address": address(admin_port)},
        "static_resources": {"clusters": [control]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control"}}]},
            "cds_config": ADS, "lds_config": ADS}}


class Control:
    """One control plane process."""

    def __init__(self, directory, *resources):
        self.directory = directory
        self.file = directory / "mesh.yaml"
        self.log = directory / "control.log"
        self.process = None
        self.port = 0
        self.put(*resources)

    def put(self, *resources):
        """Moves these resources into the file's place."""
        self.write(yaml.dump({"resources": list(resources)}, Dumper=yaml.CDumper, sort_keys=False))

    def write(self, text):
        """Moves a text into the file's place."""
        fresh = self.directory / "mesh.yaml.new"
        fresh.write_text(text)
        os.rename(fresh, self.file)

    def start(self, *extra):
        """Starts on the port that it had before, or on any; returns when it serves."""
        lines = len(self.serving())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.arguments(), "--grpc-addr", f"127.0.0.1:{self.port}", "-l", "debug", *extra],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

        def serves():
            assert self.process.poll() is None, self.output()[-4000:]
            return len(self.serving()) > lines

        until(serves, 20, "the control plane to serve")
        self.port = int(self.serving()[-1])
        return self

    def arguments(self):
        """How it is started, but for where it serves."""
        return [control_binary(), "-c", str(self.file)]

    def serving(self):
        """The ports that it said it serves on."""
        return re.findall(r"over xDS on 127\.0\.0\.1:(\d+)", self.output())

    def output(self):
        """All that it logged."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def wait_log(self, text, count=1, timeout=10):
        """Waits until a text was logged so many times."""
        until(lambda: self.output().count(text) >= count, timeout, f"the log to say '{text}'")

    def stop(self):
        """Asks it to end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
