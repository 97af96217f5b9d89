"""HTTP filters whose configuration comes from a control plane (ECDS)."""

import json

import pytest

from harness.ads import ScriptedControl
from harness.client import fetch
from harness.control import ADS, CLUSTER, LISTENER, proxy_bootstrap
from harness.discovery import EXTENSIONS, FAULT, FILTERS, aborts, discovered, says
from harness.ports import free_port
from harness.protobuf import field
from harness.proxy import Proxy
from harness.simple import listener
from harness.waiting import until

from .test_init_dump import answers, dump
from .test_streams import stream

SCOPE = "extension_config_discovery.http_filter.dyn."


def sent(status, name="dyn"):
    """A configuration as our control plane serves it."""
    return {"@type": EXTENSIONS, "name": name, "typed_config": aborts(status)}


def message(status, kind=FAULT, name="dyn"):
    """The same as bytes."""
    percent = field(1, 100)
    abort = field(2, status) + field(3, percent)
    return field(1, name) + field(2, field(1, kind) + field(2, field(2, abort)))


def served(port, *resources, source=ADS, **more):
    """A listener with a filter that is sent, and what else is served."""
    one = listener("main", port, [says("routed")], [discovered("dyn", source, **more)])
    return [{"@type": LISTENER, **one}, *resources]


@pytest.mark.parametrize("kind", ["fairlead", "envoy"])
@pytest.mark.parametrize("own", [False, True], ids=["ads", "own stream"])
def test_it_comes_changes_and_goes(control, kind, own, is_delta):
    """With its default where there is one; without one, nothing passes when it is gone."""
    source = stream(is_delta) if own else ADS
    port, second = free_port(), free_port()

    def resources(*more):
        two = served(second, source=source, default_config=aborts(430))[0]
        return [*served(port, source=source), {**two, "name": "second"}, *more]

    plane = control(*resources(sent(418)))
    proxy = Proxy(kind).start(
        proxy_bootstrap(plane.port, free_port(), is_delta), ("--concurrency", "2"))
    try:
        assert [fetch(one).status for one in (port, second)] == [418, 418]
        added = proxy.stat("listener_manager.listener_added")
        plane.put(*resources(sent(419)))
        until(lambda: [fetch(one).status for one in (port, second)] == [419, 419])
        if is_delta:
            plane.put(*resources())
            until(lambda: [fetch(one).status for one in (port, second)] == [500, 430])
            assert proxy.stat(SCOPE + "config_reload") == 3
            plane.put(*resources(sent(420)))
            until(lambda: [fetch(one).status for one in (port, second)] == [420, 420])
        # The listeners were not touched.
        assert proxy.stat("listener_manager.listener_added") == added
        assert not proxy.stat("listener_manager.listener_modified")
        if own:
            assert proxy.stat(SCOPE + "control_plane.connected_state") == 1
        # A listener that comes later has what is there; one that goes leaves it to the others.
        plane.put(*served(port, sent(421), source=source))
        until(lambda: fetch(port).status == 421)
        proxy.wait_stat("listener_manager.listener_removed", 1)
    finally:
        proxy.stop()


def test_what_a_listener_waits_for(proxy_kind):
    """It serves once the configuration is there; what is wrong is refused by name, and changes nothing."""
    port = free_port()
    with ScriptedControl() as scripted, Proxy(proxy_kind) as proxy:
        document = proxy_bootstrap(scripted.port, free_port(), False)
        del document["dynamic_resources"]["lds_config"]
        one = served(port)[0]
        del one["@type"]
        document["static_resources"]["listeners"] = [one]
        proxy.start(document, wait=False)
        scripted.wait(CLUSTER)
        scripted.send(CLUSTER, "c1")
        assert scripted.wait(EXTENSIONS).names == ["dyn"]
        until(lambda: answers(proxy) and dump(proxy, "?mask=listener"))
        assert dump(proxy, "?mask=listener")[0]["target_names"] == [
            "shared target FilterConfigSubscription init dyn"]
        scripted.send(EXTENSIONS, "e1", message(418))
        proxy.wait_ready()
        assert fetch(port).status == 418
        nonce = scripted.send(EXTENSIONS, "e2", message(18))
        refusal = scripted.answered(EXTENSIONS, nonce)
        assert refusal.version == "e1" and "status" in refusal.error.lower(), refusal.error
        nonce = scripted.send(EXTENSIONS, "e3", message(418, FILTERS + "buffer.v3.Buffer"))
        assert "buffer.v3.Buffer" in scripted.answered(EXTENSIONS, nonce).error
        assert fetch(port).status == 418
        nonce = scripted.send(EXTENSIONS, "e4", message(422))
        assert scripted.answered(EXTENSIONS, nonce).version == "e4"
        until(lambda: fetch(port).status == 422)
        shown = json.loads(proxy.admin("/config_dump").body)["configs"]
        assert [each["ecds_filters"][0]["version_info"] for each in shown
                if each["@type"].endswith(".EcdsConfigDump")] == ["e4"]


def test_nobody_sends_it(proxy_kind):
    """After `initial_fetch_timeout` the listener serves without: by its default, or with 500."""
    ports = [free_port(), free_port()]
    source = {**ADS, "initial_fetch_timeout": "0.3s"}
    with ScriptedControl() as scripted, Proxy(proxy_kind) as proxy:
        document = proxy_bootstrap(scripted.port, free_port(), False)
        for name in ("lds_config", "cds_config"):
            del document["dynamic_resources"][name]
        lone, second = (served(ports[0], source=source)[0],
                        served(ports[1], source=source, default_config=aborts(430))[0])
        second["name"] = "second"
        for one in (lone, second):
            del one["@type"]
        document["static_resources"]["listeners"] = [lone, second]
        proxy.start(document)
        assert [fetch(port).status for port in ports] == [500, 430]
        assert proxy.stat(SCOPE + "init_fetch_timeout") == 1
        assert proxy.stat(SCOPE + "config_fail") == 1
        scripted.send(EXTENSIONS, "e1", message(418))
        until(lambda: [fetch(port).status for port in ports] == [418, 418])
