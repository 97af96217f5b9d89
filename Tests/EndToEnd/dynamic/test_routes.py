"""Routes that come from a file and follow it (RDS by `path_config_source`)."""

import json
import threading
import time

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import ROUTES, ResourceFile, route_config, says
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import reply
from harness.waiting import until

from .conftest import allocated, following, load, shrinks_to

TO_UP = {"match": {"prefix": "/"}, "route": {"cluster": "up"}}


def becomes(port, body):
    """Waits until an answer is this one."""
    until(lambda: fetch(port).body == body, what=f"the answer {body}")


def test_routes_follow_the_file(routed):
    """What is moved to the file's place is in force at once, on connections that are open too."""
    one = routed(route_config("local", says("first")))
    with Connection(one.port) as kept:
        kept.send(request_bytes())
        assert kept.read_response().body == b"first"
        one.put(route_config("local", says("second")))
        one.wait("update_success", 2)
        becomes(one.port, b"second")
        kept.send(request_bytes())
        assert kept.read_response().body == b"second"
    assert one.stat("config_reload") == 2
    assert one.stat("update_attempt") == 2


def test_the_same_routes_again_are_no_change(routed):
    """A new version of the same content is taken over, and nothing is reloaded."""
    one = routed(route_config("local", says("first")))
    one.put(route_config("local", says("first")))
    one.wait("update_success", 2)
    assert one.stat("config_reload") == 1


def test_a_request_keeps_the_routes_it_began_with(routed):
    """Its answer is still changed as its own route says; the next request's as the new one says."""
    go = threading.Event()

    def mark(text):
        return route_config("local", {**TO_UP, "response_headers_to_add": [
            {"header": {"key": "x-routes", "value": text}}]})

    one = routed(mark("old"), behaviour=lambda e: [go.wait(10), reply()(e)])
    with Connection(one.port) as early:
        early.send(request_bytes())
        one.upstream.wait_requests(1)
        one.put(mark("new"))
        one.wait("update_success", 2)
        go.set()
        assert early.read_response().value("x-routes") == "old"
    until(lambda: fetch(one.port).value("x-routes") == "new")


def test_managers_of_one_name_change_together(routed):
    """Two listeners with the same routes, one subscription."""
    one = routed(route_config("local", says("first")), managers=2)
    one.put(route_config("local", says("second")))
    one.wait("update_success", 2)
    for port in one.ports:
        becomes(port, b"second")
    assert one.stat("update_attempt") == 2


BAD = {
    "an unknown field": (route_config("local", says("x"), virtual_host=[]), "virtual_host"),
    "a bad expression": (
        route_config("local", says("x", safe_regex={"regex": "(("})), "safe_regex"),
    "another name": (route_config("remote", says("x")), "remote"),
    "a domain twice": ({"name": "local", "virtual_hosts": [
        {"name": "a", "domains": ["*"], "routes": [says("x")]},
        {"name": "b", "domains": ["*"], "routes": [says("x")]}]}, "domain"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_version_changes_nothing(routed, proxy_kind, what):
    """The last good routes stay, the reason is logged with its place, and a good one comes through."""
    if proxy_kind == "envoy" and what == "an unknown field":
        pytest.skip("Envoy takes it with a warning")
    one = routed(route_config("local", says("good")))
    resource, word = BAD[what]
    one.put(resource)
    one.wait("update_rejected", 1)
    assert fetch(one.port).body == b"good"
    lines = [line for line in one.proxy.output().splitlines() if "warn" in line]
    assert any(word in line for line in lines), lines
    one.put(route_config("local", says("better")))
    becomes(one.port, b"better")


def test_what_is_no_answer_at_all_is_a_failure(routed):
    """Text that cannot be read, and then an answer without resources: the last good routes stay."""
    one = routed(route_config("local", says("good")))
    one.file.write("resources: [")
    one.wait("update_failure", 1)
    one.put()
    one.wait("update_empty", 1)
    assert fetch(one.port).body == b"good"


def test_versions_are_shown(routed):
    """By `/config_dump`, and as statistics."""
    one = routed(route_config("local", says("first")))
    version = one.put(route_config("local", says("second")))
    one.wait("update_success", 2)
    dump = one.proxy.admin("/config_dump?resource=dynamic_route_configs").body
    shown = json.loads(dump)["configs"]
    assert [c["version_info"] for c in shown] == [version]
    assert shown[0]["route_config"]["@type"] == ROUTES
    assert shown[0]["route_config"]["name"] == "local"
    text = one.proxy.admin("/stats?filter=rds").body.decode()
    assert f'http.main0.rds.local.version_text: "{version}"' in text
    # XXH64 of "2", without its highest bit.
    assert "http.main0.rds.local.version: 6927017134761466251" in text


def test_a_file_must_be_there_from_the_start(proxy_kind, tmp_path):
    """A path that leads nowhere is a mistake of the configuration."""
    file = ResourceFile(tmp_path / "nowhere.yaml")
    with Proxy(proxy_kind) as proxy:
        code, output = proxy.validate(bootstrap(
            [following(listener("main", free_port()), "local", file.source)], [], None))
    assert code != 0 and "nowhere.yaml" in output, output


def test_without_good_routes_the_start_goes_on(proxy_kind, tmp_path):
    """A bad file at the start: the proxy is ready, and knows no route until there is a good one."""
    file = ResourceFile(tmp_path / "routes.yaml")
    file.write("resources: [")
    port = free_port()
    with Proxy(proxy_kind) as proxy:
        proxy.start(bootstrap(
            [following(listener("main", port), "local", file.source)],
            [cluster("up", 1)], free_port()))
        assert fetch(port).status == 404
        file.put(ROUTES, route_config("local", says("late")))
        becomes(port, b"late")


def test_updates_under_load_lose_nothing(routed):
    """A new table every 20 ms, and clients that ask all the time."""
    one = routed(route_config("local", TO_UP))
    over = threading.Event()
    threads, statuses, wrong = load(one.port, over)
    for version in range(50):
        cluster_name = ("up", "other")[version % 2]
        one.put(route_config("local", says("never", path=f"/{version}"), {
            "match": {"prefix": "/"}, "route": {"cluster": cluster_name}}))
        until(lambda v=version: one.stat("update_success") >= v + 2)
        time.sleep(0.02)  # the pace of the updates, not something waited for
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100


@pytest.mark.alone("how soon workers let go of what was")
def test_replaced_tables_are_freed(routed, proxy_kind):
    """A thousand versions of a table of five hundred routes leave nothing behind."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    one = routed(route_config("local", says("first")))

    def update(first, count):
        for number in range(first, first + count):
            one.put(route_config("local", *(
                says("x" * 50, path=f"/{number}/{index}") for index in range(500))))
            until(lambda n=number: one.stat("config_reload") >= n + 2)

    update(0, 20)
    before = allocated(one.proxy)
    update(20, 100)
    # One such table alone takes more than 200 KiB.
    shrinks_to(one.proxy, before + 150_000)
