"""A proxy that starts while its control plane is not there, from what was kept (`--xds-cache`)."""

import json
import re
import stat

import pytest

from harness.client import fetch
from harness.control import ADS, proxy_bootstrap, to
from harness.discovery import EXTENSIONS, FILTERS, discovered
from harness.ports import free_port
from harness.proxy import Proxy
from harness.waiting import until

from .conftest import Mesh

MUTATION = FILTERS + "header_mutation.v3.HeaderMutation"


class Kept(Mesh):
    """A mesh with a filter whose configuration is sent, too."""

    def resources(self, *entries, one=None, more=()):
        found = super().resources(*entries, one=one, more=more)
        manager = found[0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"].insert(0, discovered("mark", ADS, MUTATION))
        return [*found, {"@type": EXTENSIONS, "name": "mark", "typed_config": {
            "@type": MUTATION, "mutations": {"response_mutations": [
                {"append": {"header": {"key": "x-mark", "value": "kept"}}}]}}}]


@pytest.fixture
def kept(control, is_delta, tmp_path):
    """A mesh whose proxy keeps what it was sent."""
    made = Kept(control, "fairlead", is_delta)
    made.directory = tmp_path / "cache"

    def start(**options):
        document = proxy_bootstrap(made.control.port, free_port(), is_delta)
        made.proxy = Proxy("fairlead").start(
            document, ("--concurrency", "2", "--xds-cache", str(made.directory)), **options)
    made.restart = start
    start()
    yield made
    made.stop()


def files(mesh):
    """What is kept, by kind."""
    return {folder.name: sorted(folder.iterdir()) for folder in mesh.directory.iterdir()}


def test_a_start_without_a_control_plane(kept):
    """It serves what was kept, says since when, and takes what comes when the control plane is back."""
    assert fetch(kept.port).body == b"one"
    until(lambda: all(len(found) == 1 for found in files(kept).values()), what="five files")
    assert sorted(files(kept)) == ["Cluster", "ClusterLoadAssignment", "Listener",
                                   "RouteConfiguration", "TypedExtensionConfig"]
    for found in files(kept).values():
        assert stat.S_IMODE(found[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.directory.stat().st_mode) == 0o700
    shown = json.loads(kept.proxy.admin("/config_dump?resource=dynamic_active_clusters").body)
    before = shown["configs"][0]
    kept.control.stop()
    kept.proxy.process.kill()
    kept.proxy.process.wait()

    kept.restart()
    assert fetch(kept.port).value("x-mark") == "kept"
    assert kept.proxy.stat("xds_cache.served") == 5
    assert kept.proxy.stat("cluster_manager.cds.update_success") == 0
    assert kept.proxy.stat("control_plane.connected_state") == 0
    shown = json.loads(kept.proxy.admin("/config_dump?resource=dynamic_active_clusters").body)
    found = shown["configs"][0]
    assert found["version_info"] and found["last_updated"][:16] == before["last_updated"][:16]

    kept.control.put(*kept.resources(to("a"), one=[kept.two.port]))
    kept.control.start()
    kept.becomes(b"two")
    kept.proxy.wait_stat("control_plane.connected_state", 1)
    # What is gone, goes from the disk as well.
    kept.control.put()
    until(lambda: not files(kept)["Cluster"] and not files(kept)["Listener"])


def test_what_is_damaged_is_not_used(kept):
    """Torn, foreign and empty files are passed over with a word; the rest serves."""
    until(lambda: all(len(found) == 1 for found in files(kept).values()), what="five files")
    kept.control.stop()
    kept.proxy.stop()
    [endpoint] = files(kept)["ClusterLoadAssignment"]
    endpoint.write_bytes(endpoint.read_bytes()[:-3])
    folder = kept.directory / "Cluster"
    (folder / "0123456789abcdef").write_bytes(b"")
    (folder / "fedcba9876543210").write_bytes(b"\xff" * 10_000)
    (folder / "0000000000000000.1.new").write_bytes(b"half")
    [cluster] = [one for one in files(kept)["Cluster"] if len(one.name) == 16
                 and one.name not in ("0123456789abcdef", "fedcba9876543210")]
    (folder / "aaaaaaaaaaaaaaaa").write_bytes(
        re.sub(rb" 1 [0-9a-f]{16}", b" 1 0000000000000000", cluster.read_bytes(), count=1))
    kept.restart(wait=False)
    until(lambda: ready(kept.proxy), what="the admin port")
    until(lambda: kept.proxy.stat("xds_cache.ignored") >= 4, 10)
    assert not (folder / "0000000000000000.1.new").exists()
    assert "is not used" in kept.proxy.output()
    kept.control.start()
    until(lambda: answers(kept.port, b"one"), 10)


def answers(port, body):
    """Whether the proxy answers so."""
    try:
        return fetch(port).body == body
    except OSError:
        return False


def ready(proxy):
    """Whether somebody answers at the admin port."""
    try:
        proxy.admin("/ready", timeout=2)
        return True
    except OSError:
        return False


def test_another_node_uses_nothing(kept):
    """What was sent to one node is not another's."""
    until(lambda: all(len(found) == 1 for found in files(kept).values()), what="five files")
    kept.control.stop()
    kept.proxy.stop()
    document = proxy_bootstrap(kept.control.port, free_port(), kept.delta)
    document["node"]["id"] = "sidecar-2"
    for name in ("cds_config", "lds_config"):
        document["dynamic_resources"][name] = {
            **document["dynamic_resources"][name], "initial_fetch_timeout": "0.5s"}
    kept.proxy = Proxy("fairlead").start(
        document, ("--concurrency", "1", "--xds-cache", str(kept.directory)))
    assert kept.proxy.stat("xds_cache.served") == 0
    assert not answers(kept.port, b"one")
