"""Resources that end by themselves unless they are sent again (`Resource.ttl`)."""

import json

import pytest

from harness.ads import CLUSTER, ENDPOINTS, ScriptedControl, Wrapped, assignment, eds_cluster
from harness.control import proxy_bootstrap
from harness.ports import free_port
from harness.proxy import Proxy
from harness.waiting import until


@pytest.fixture
def served(proxy_kind):
    """A control plane, and a proxy that asks it for clusters and endpoints."""
    with ScriptedControl() as control:
        proxy = Proxy(proxy_kind)
        document = proxy_bootstrap(control.port, free_port(), False)
        del document["dynamic_resources"]["lds_config"]
        proxy.start(document, wait=False)
        control.wait(CLUSTER)
        yield control, proxy
        proxy.stop()


def cluster(name, ttl=None, heartbeat=False):
    """A cluster in the message that says how long it lasts."""
    return Wrapped(CLUSTER, name, None if heartbeat else eds_cluster(name), "v", ttl)


def names(proxy):
    """The clusters that came."""
    dump = json.loads(proxy.admin("/config_dump?resource=dynamic_active_clusters").body)
    return sorted(one["cluster"]["name"] for one in dump.get("configs", []))


def send(control, *clusters, version="v"):
    """Sends clusters; returns when they are accepted and have endpoints."""
    nonce = control.send(CLUSTER, version, *clusters)
    answer = control.answered(CLUSTER, nonce)
    assert answer.error is None
    return nonce


def test_what_is_not_sent_again_ends(served):
    """One cluster's time is over, another is kept alive by a heartbeat, a third one lasts."""
    control, proxy = served
    send(control, cluster("ends", 2000), cluster("beats", 2000), cluster("lasts"))
    wanted = ["beats", "ends", "lasts"]
    asked = control.wait(ENDPOINTS, lambda one: sorted(one.names) == wanted)
    control.send(ENDPOINTS, "e", *(assignment(name, 1) for name in asked.names))
    until(lambda: names(proxy) == wanted)
    send(control, cluster("beats", 600_000, heartbeat=True))
    if proxy.kind == "fairlead":
        assert names(proxy) == wanted
    until(lambda: "ends" not in names(proxy), 10)
    assert names(proxy) == ["beats", "lasts"]
    assert proxy.stat("cluster_manager.cluster_removed") == 1
    assert proxy.stat("cluster_manager.cds.update_rejected") == 0


def test_a_later_version_without_an_end_lasts(served):
    """What is sent again without a time to live has none."""
    control, proxy = served
    send(control, cluster("a", 1000), cluster("b", 1000))
    asked = control.wait(ENDPOINTS, lambda one: sorted(one.names) == ["a", "b"])
    control.send(ENDPOINTS, "e", *(assignment(name, 1) for name in asked.names))
    send(control, cluster("a"), cluster("b", 1000), version="w")
    until(lambda: names(proxy) == ["a"], 10)
