"""`/init_dump`: what listeners and clusters wait for before they are used."""

import json
import re

import pytest

from harness.ads import ScriptedControl
from harness.control import ADS, ads_cluster, ads_listener, proxy_bootstrap
from harness.discovery import CLUSTERS, LISTENERS, ResourceFile, named_secret
from harness.ports import free_port
from harness.proxy import Proxy
from harness.waiting import until

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
LISTENER = [{"name": "init manager Listener-local-init-manager l #", "target_names": [
    "shared target RdsRouteConfigSubscription RDS init local", "shared target SdsApi cert"]}]
CLUSTER = [{"name": "init manager Cluster w", "target_names": ["shared target EdsCluster w"]}]


def dump(proxy, mask=""):
    """What is waited for, without what only the proxy knows."""
    answer = proxy.admin("/init_dump" + mask)
    assert answer.status == 200
    found = json.loads(answer.body).get("unready_targets_dumps", [])
    return [{"name": re.sub(r" \d+$", " #", one["name"]),
             "target_names": sorted(one["target_names"])} for one in found]


def answers(proxy):
    """Whether the admin port is there."""
    try:
        return proxy.admin("/ready").status
    except OSError:
        return False


@pytest.mark.parametrize("later", [False, True], ids=["at the start", "while it runs"])
def test_what_is_waited_for(proxy_kind, tmp_path, later):
    """Routes and secrets of a listener, endpoints of a cluster, that nobody sends."""
    one = ads_listener("l", free_port())
    one["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {
        "@type": TLS, "common_tls_context": {
            "tls_certificate_sds_secret_configs": [named_secret("cert", ADS)]}}}
    listeners, clusters = (ResourceFile(tmp_path / name) for name in ("l.yaml", "c.yaml"))
    listeners.put(LISTENERS, *([] if later else [one]))
    clusters.put(CLUSTERS)
    with ScriptedControl() as control, Proxy(proxy_kind) as proxy:
        document = proxy_bootstrap(control.port, free_port(), False)
        document["dynamic_resources"].update(
            lds_config=listeners.source, cds_config=clusters.source)
        proxy.start(document, wait=later)
        if later:
            assert not dump(proxy)
            clusters.put(CLUSTERS, ads_cluster("w"))
            listeners.put(LISTENERS, one)
        until(lambda: answers(proxy) and dump(proxy, "?mask=listener") == LISTENER)
        extra = CLUSTER if later and proxy_kind == "fairlead" else []
        until(lambda: dump(proxy) == LISTENER + extra)
        assert dump(proxy, "?mask=cluster") == extra
        assert not dump(proxy, "?mask=route")
