"""The control plane is killed and comes back while clients ask: nobody notices, and little is sent."""

import pytest

from harness.client import fetch
from harness.load import Load
from harness.mesh import DECK, MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import until


@pytest.fixture
def folder(tmp_path):
    """A control plane whose directory is still empty."""
    control = MeshControl(tmp_path)
    yield control
    if control.process:
        control.stop()


KINDS = [("fairlead", True), ("fairlead", False), ("envoy", True), ("envoy", False)]


@pytest.mark.parametrize("kind, delta", KINDS,
                         ids=[f"{kind}-{'delta' if delta else 'world'}" for kind, delta in KINDS])
def test_a_restart_under_load(folder, kind, delta):
    """Killed, its directory gone for a while, changed meanwhile: what changed is taken over, all else
    stays as it is."""
    net = subnet()
    workloads = [Workload(f"{net}.1", 9001, "v1"), Workload(f"{net}.2", 9001, "v2")]
    others = "".join(service(f"other-{n}", 81, 9001) for n in range(50))
    folder.apply("services.yaml", others + service("service-go", 80, 9001)
                 + pod("go-1", "service-go", "v1", f"{net}.1")
                 + pod("go-2", "service-go", "v2", f"{net}.2"))
    folder.apply("deck.yaml", DECK)
    folder.start()
    proxy = sidecar(kind, folder, delta, f"{net}.9")
    load = Load(f"{net}.9", 80, "service-go")
    try:
        load.grows()
        clusters = proxy.stat("cluster_manager.active_clusters")
        kept = ["cluster_manager.cluster_modified", "cluster_manager.cluster_removed",
                "listener_manager.listener_modified", "listener_manager.listener_removed"]
        before = {name: proxy.stat(name) for name in kept}
        folder.process.kill()
        folder.process.wait(5)
        proxy.wait_stat("control_plane.connected_state", 0)
        load.grows()
        # While it cannot read what it is to serve, it does not serve.
        away = folder.folder.rename(folder.folder.with_name("away"))
        with pytest.raises(AssertionError, match="No such file"):
            folder.start()
        away.rename(folder.folder)
        load.grows()

        folder.apply("deck.yaml", DECK.replace("weight: 70", "weight: 0")
                     .replace("weight: 30", "weight: 100"))
        folder.start()
        until(lambda: {fetch(80, host="service-go", address=f"{net}.9").body for _ in range(20)}
              == {b"v2"}, 40, "the change that was made meanwhile")
        load.grows()
        assert proxy.stat("control_plane.connected_state") == 1
        assert proxy.stat("cluster_manager.active_clusters") == clusters
        assert {name: proxy.stat(name) for name in kept} == before
        assert sum(proxy.stats("update_rejected").values()) == 0
    finally:
        load.stop()
        proxy.stop()
        for one in workloads:
            one.stop()
    assert not load.wrong, load.wrong[:3]
