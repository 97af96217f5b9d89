"""Files of resources that a proxy follows, replaced by moves as Envoy asks for."""

import os

import yaml

TYPES = "type.googleapis.com/envoy.config."
ROUTES = TYPES + "route.v3.RouteConfiguration"


class ResourceFile:
    """A file that holds a `DiscoveryResponse`."""

    def __init__(self, path):
        self.path = path
        self.version = 0

    @property
    def source(self):
        """The `config_source` that leads here."""
        return {"path_config_source": {"path": str(self.path)}}

    def write(self, text):
        """Moves another text into the file's place."""
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(text)
        os.rename(fresh, self.path)

    def put(self, type_url, *resources):
        """The next version, with these resources; returns what it is called."""
        self.version += 1
        self.write(yaml.dump({
            "version_info": str(self.version),
            "resources": [{"@type": type_url, **one} for one in resources]},
            Dumper=yaml.CDumper, sort_keys=False))
        return str(self.version)


def says(text, **match):
    """A route that answers by itself with this text."""
    return {"match": match or {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": text}}}


def route_config(name, *routes, **more):
    """A route configuration with one virtual host for everything."""
    return {"name": name, "virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": list(routes)}], **more}


CLUSTERS = TYPES + "cluster.v3.Cluster"
ENDPOINTS = TYPES + "endpoint.v3.ClusterLoadAssignment"


def endpoint(port, host="127.0.0.1", **more):
    """One endpoint on loopback."""
    return {"endpoint": {"address": {
        "socket_address": {"address": host, "port_value": port}}}, **more}


def assignment(name, *endpoints):
    """Endpoints of one locality; a number is a port."""
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [
        one if isinstance(one, dict) else endpoint(one) for one in endpoints]}]}


def eds_cluster(name, source, **more):
    """A cluster whose endpoints are sent."""
    return {"name": name, "type": "EDS", "connect_timeout": "1s",
            "eds_cluster_config": {"eds_config": source}, **more}


LISTENERS = TYPES + "listener.v3.Listener"
SECRETS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def certificate_secret(name, identity):
    """A secret with a certificate and its key, written out."""
    return {"name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": identity.certificate.read_text()},
        "private_key": {"inline_string": identity.key.read_text()}}}


def trust_secret(name, authority, **more):
    """A secret that says whom to believe."""
    return {"name": name, "validation_context": {
        "trusted_ca": {"inline_string": authority.certificate.read_text()}, **more}}


def named_secret(name, source):
    """An `SdsSecretConfig`."""
    return {"name": name, "sds_config": source} if source else {"name": name}


EXTENSIONS = TYPES + "core.v3.TypedExtensionConfig"
FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
FAULT = FILTERS + "fault.v3.HTTPFault"


def aborts(status):
    """A fault that answers every request so."""
    return {"@type": FAULT, "abort": {
        "http_status": status, "percentage": {"numerator": 100}}}


def discovered(name, source, *types, **more):
    """An HTTP filter whose configuration comes by itself."""
    return {"name": name, "config_discovery": {
        "config_source": source, "type_urls": list(types or [FAULT]), **more}}
