"""Short configurations for tests that do not compare: one listener, one route, one cluster."""

ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}
_MANAGER = ("type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager")
_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def address(port, host="127.0.0.1"):
    """A socket address."""
    return {"socket_address": {"address": host, "port_value": port}}


def cluster(name, *ports, **extra):
    """A STATIC cluster on loopback."""
    endpoints = [{"endpoint": {"address": address(port)}} for port in ports]
    return {
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **extra,
    }


def listener(name, port, routes=None, filters=(), access_log=None, host="127.0.0.1", **manager):
    """A listener whose virtual host takes every host; by default all goes to the cluster `up`."""
    routes = routes or [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}]
    config = {
        "@type": _MANAGER, "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, ROUTER], **manager,
    }
    if access_log:
        path, line = access_log
        config["access_log"] = [{"name": "file", "typed_config": {
            "@type": _FILE_LOG, "path": str(path),
            "log_format": {"text_format_source": {"inline_string": line}}}}]
    chain = {"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": config}]}
    return {"name": name, "address": address(port, host), "filter_chains": [chain]}
