"""The control plane is killed and comes back while clients ask: nobody notices, and little is sent."""

import threading

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.mesh import DECK, MeshControl, Workload, pod, service, sidecar, subnet
from harness.waiting import until


@pytest.fixture
def folder(tmp_path):
    """A control plane whose directory is still empty."""
    control = MeshControl(tmp_path)
    yield control
    if control.process:
        control.stop()


class Load:
    """Two clients of one proxy that ask all the time."""

    def __init__(self, address):
        self.address, self.over = address, threading.Event()
        self.count, self.wrong = 0, []
        self.threads = [threading.Thread(target=self._guarded) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def _guarded(self):
        try:
            while not self.over.is_set():
                self._ask()
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.wrong.append(error)

    def _ask(self):
        with Connection(80, self.address) as client:
            while not self.over.is_set():
                client.send(request_bytes(host="service-go"))
                response = client.read_response()
                self.count += 1
                if response.status != 200:
                    self.wrong.append((response.status, response.body))
                if response.value("connection") == "close":
                    return

    def grows(self):
        """Waits until clients have been answered for a while from now on."""
        before = self.count
        until(lambda: self.count > before + 50 or self.wrong, 20, "requests to be answered")

    def stop(self):
        """Ends the clients."""
        self.over.set()
        for thread in self.threads:
            thread.join()


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
    load = Load(f"{net}.9")
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
