"""A sidecar's configuration, laid out as Istio lays it out, from files that a proxy follows."""

import json

from harness.control import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from harness.simple import ROUTER, address

TYPE = "type.googleapis.com/envoy.extensions."
MANAGER = TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = TYPE + "filters.network.tcp_proxy.v3.TcpProxy"
ISTIO = "/apis/networking.istio.io/v1alpha3/namespaces/gllue-web/"
WEB = "gllue-web-1-svc.gllue-web.svc.cluster.local"
POD = "gllue-web-8-7595b78979-8wmfc.gllue-web"
NODE = f"sidecar~172.20.3.57~{POD}~gllue-web.svc.cluster.local"


def manager(prefix, **more):
    """A connection manager."""
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": MANAGER, "stat_prefix": prefix, "http_filters": [ROUTER], **more}}


def tcp(prefix, cluster):
    """A TCP proxy to one cluster."""
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": TCP, "stat_prefix": prefix, "cluster": cluster}}


def inline(name):
    """Routes that send everything to one cluster."""
    return {"name": name, "virtual_hosts": [
        {"name": "inbound|http|8090", "domains": ["*"], "routes": [
            {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": name}}]}]}


def file_source(path):
    """Where a file is followed."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def inspector(name, kind):
    """A listener filter."""
    return {"name": f"envoy.filters.listener.{name}", "typed_config": {
        "@type": TYPE + f"filters.listener.{name}.v3.{kind}"}}


INSPECTORS = [inspector("original_dst", "OriginalDst"), inspector("tls_inspector", "TlsInspector"),
              inspector("http_inspector", "HttpInspector")]


def listeners(directory, outbound, inbound):
    """The two that everything is redirected to, and those that they hand over to."""
    rds = {"route_config_name": "8090", "config_source": file_source(directory / "rds.json")}
    return [
        {"name": "virtualOutbound", "address": address(outbound, "0.0.0.0"),
         "traffic_direction": "OUTBOUND", "use_original_dst": True,
         "listener_filters": INSPECTORS,
         "filter_chains": [
             {"name": "virtualOutbound-blackhole",
              "filter_chain_match": {"destination_port": outbound},
              "filters": [tcp("BlackHoleCluster", "BlackHoleCluster")]},
             {"name": "virtualOutbound-catchall-tcp",
              "filters": [tcp("PassthroughCluster", "PassthroughCluster")]}]},
        {"name": "virtualInbound", "address": address(inbound, "0.0.0.0"),
         "traffic_direction": "INBOUND", "listener_filters": INSPECTORS,
         "filter_chains": [
             {"name": "virtualInbound-blackhole",
              "filter_chain_match": {"destination_port": inbound},
              "filters": [tcp("BlackHoleCluster", "BlackHoleCluster")]},
             {"name": "virtualInbound-catchall-http",
              "filter_chain_match": {"transport_protocol": "raw_buffer",
                                     "application_protocols": ["http/1.1", "h2c"]},
              "filters": [manager("catchall", route_config=inline("InboundPassthroughCluster"))]},
             {"name": "virtualInbound",
              "filters": [tcp("InboundPassthroughCluster", "InboundPassthroughCluster")]},
             {"name": "0.0.0.0_8090",
              "filter_chain_match": {"destination_port": 8090,
                                     "transport_protocol": "raw_buffer"},
              "filters": [manager("inbound_0.0.0.0_8090",
                                  route_config=inline("inbound|8090||"))]}]},
        {"name": "0.0.0.0_8090", "address": address(8090, "0.0.0.0"), "bind_to_port": False,
         "traffic_direction": "OUTBOUND", "listener_filters": INSPECTORS[1:],
         "filter_chains": [
             {"filter_chain_match": {"transport_protocol": "raw_buffer",
                                     "application_protocols": ["http/1.1", "h2c"]},
              "filters": [manager("outbound_0.0.0.0_8090", rds=rds)]}],
         "default_filter_chain": {
             "name": "PassthroughFilterChain",
             "filters": [tcp("PassthroughCluster", "PassthroughCluster")]}},
        {"name": "10.96.0.7_3306", "address": address(3306, "10.96.0.7"), "bind_to_port": False,
         "traffic_direction": "OUTBOUND", "listener_filters": INSPECTORS[1:2],
         "filter_chains": [
             {"filter_chain_match": {"server_names": ["db.example.com"],
                                     "transport_protocol": "tls"},
              "filters": [tcp("db", f"outbound|3306|v1|{WEB}")]},
             {"filter_chain_match": {"prefix_ranges": [
                 {"address_prefix": "10.96.0.0", "prefix_len": 16}]},
              "filters": [tcp("db", f"outbound|3306||{WEB}")]}]},
        {"name": "probe", "address": address(0, "127.0.0.1"),
         "filter_chains": [{"filters": [manager("probe", route_config={
             "name": "probe", "virtual_hosts": [{"name": "all", "domains": ["probe", "*"], "routes": [
                 {"match": {"path": "/healthz/ready"}, "direct_response": {"status": 200}},
                 {"match": {"prefix": "/stats"}, "route": {"cluster": "BlackHoleCluster"}},
                 {"match": {"safe_regex": {"regex": "/v[0-9]+"}},
                  "redirect": {"path_redirect": "/"}}]}]})]}]},
    ]


def service(port, name="gllue-web-1-svc", host=WEB):
    """What Istio notes of a cluster's service."""
    return {"filter_metadata": {"istio": {"services": [
        {"host": host, "name": name, "namespace": "gllue-web"}], "default_original_port": port}}}


def clusters(directory, with_metadata):
    """Clusters of every kind that a sidecar has. Fairlead's have no metadata."""
    rule = service(8090)
    rule["filter_metadata"]["istio"]["config"] = ISTIO + "destination-rule/gllue-web-1"

    def eds(index, name, metadata):
        source = file_source(directory / f"eds{index}.json")
        return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source},
                "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST", "metadata": metadata}

    made = [
        {"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "1s"},
        {"name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
         "connect_timeout": "1s"},
        {"name": "InboundPassthroughCluster", "type": "ORIGINAL_DST",
         "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "1s"},
        {"name": "inbound|8090||", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
         "connect_timeout": "1s", "metadata": service(8090)},
        eds(0, f"outbound|8090||{WEB}", rule), eds(1, f"outbound|8090|v1|{WEB}", rule),
        eds(2, f"outbound|3306||{WEB}", service(3306)),
        eds(3, f"outbound|3306|v1|{WEB}", service(3306)),
    ]
    for each in made:
        if not with_metadata:
            each.pop("metadata", None)
    return made


def routes():
    """What is sent to port 8090."""
    virtual_service = {"filter_metadata": {"istio": {
        "config": ISTIO + "virtual-service/gllue-web-1"}}}
    return [{"name": "8090", "validate_clusters": False, "virtual_hosts": [
        {"name": f"{WEB}:8090",
         "domains": [WEB, "gllue-web-1-svc", "gllue-web-1-svc.gllue-web.svc", "10.96.0.7"],
         "routes": [
             {"match": {"prefix": "/v1"}, "metadata": virtual_service,
              "route": {"cluster": f"outbound|8090|v1|{WEB}"}},
             {"match": {"path_separated_prefix": "/get"},
              "route": {"cluster": f"outbound|8090||{WEB}"}},
             {"match": {"prefix": "/"}, "metadata": virtual_service,
              "route": {"weighted_clusters": {"clusters": [
                  {"name": f"outbound|8090|v1|{WEB}", "weight": 70},
                  {"name": f"outbound|8090||{WEB}", "weight": 30}]}}}]},
        {"name": "allow_any", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}}]}]}]


def endpoints():
    """One endpoint in order, one that is told not to be."""
    def of(name, *entries):
        return {"@type": ENDPOINTS, "cluster_name": name, "endpoints": [
            {"locality": {"region": "eu", "zone": "eu-1"},
             "lb_endpoints": list(entries)}]}

    def at(host, port, **more):
        return {"endpoint": {"address": address(port, host)}, **more}

    bad = at("172.20.3.58", 8090, health_status="UNHEALTHY")
    return [of(f"outbound|8090||{WEB}", at("172.20.3.57", 8090), bad),
            of(f"outbound|8090|v1|{WEB}", at("172.20.3.57", 8090)),
            of(f"outbound|3306||{WEB}", at("172.20.3.60", 3306)), of(f"outbound|3306|v1|{WEB}")]


def write(directory, outbound, inbound, with_metadata=False):
    """Writes the files that a proxy follows."""
    documents = {
        "lds": [{"@type": LISTENER, **each} for each in listeners(directory, outbound, inbound)],
        "cds": [{"@type": CLUSTER, **each} for each in clusters(directory, with_metadata)],
        "rds": [{"@type": ROUTES, **each} for each in routes()],
        **{f"eds{index}": [each] for index, each in enumerate(endpoints())}}
    for name, resources in documents.items():
        (directory / f"{name}.json").write_text(
            json.dumps({"version_info": "1", "resources": resources}))


def bootstrap(directory, admin_port):
    """What a proxy starts with."""
    return {
        "node": {"id": NODE, "cluster": "gllue-web", "metadata": {"INSTANCE_IPS": "172.20.3.57"}},
        "admin": {"address": address(admin_port)},
        "static_resources": {"clusters": [
            {"name": "prometheus_stats", "type": "STATIC", "connect_timeout": "1s",
             "load_assignment": {"cluster_name": "prometheus_stats", "endpoints": [
                 {"lb_endpoints": [{"endpoint": {"address": address(15000)}}]}]}}]},
        "dynamic_resources": {"lds_config": file_source(directory / "lds.json"),
                              "cds_config": file_source(directory / "cds.json")}}
