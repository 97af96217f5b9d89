"""HTTP filters whose configuration comes by itself (`config_discovery`), from a file that is followed."""

import json
import threading

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import (
    EXTENSIONS, FAULT, FILTERS, ResourceFile, aborts, discovered, says)
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

from .conftest import allocated, load, shrinks_to

BUFFER = FILTERS + "buffer.v3.Buffer"
MUTATION = FILTERS + "header_mutation.v3.HeaderMutation"
SCOPE = "extension_config_discovery.http_filter.dyn."
FLAGS = "%RESPONSE_CODE% %RESPONSE_FLAGS% [%RESPONSE_CODE_DETAILS%]\n"


def named(config, name="dyn"):
    """A configuration as it is sent."""
    return {"name": name, "typed_config": config}


def marks(text):
    """A configuration that marks every answer."""
    return {"@type": MUTATION, "mutations": {"response_mutations": [
        {"append": {"header": {"key": "x-mark", "value": text}}}]}}


class Filtered:
    """A proxy with listeners whose first filter comes from a file."""

    def __init__(self, kind, directory, *filters, routes=None, upstream=None, count=1):
        self.log = directory / "access.log"
        self.file = ResourceFile(directory / "filters.yaml")
        self.filters = filters
        self.routes = routes or [says("routed")]
        self.ports = [free_port() for _ in range(count)]
        self.upstream = upstream
        self.proxy = Proxy(kind)

    def start(self, *resources):
        """Begins with these resources in the file."""
        self.put(*resources)
        filters = self.filters or [discovered("dyn", self.file.source)]
        self.proxy.start(bootstrap(
            [listener(f"main{index}", port, self.routes, filters, (self.log, FLAGS))
             for index, port in enumerate(self.ports)],
            [cluster("up", self.upstream.port)] if self.upstream else [], free_port()))
        return self

    def put(self, *resources):
        """The next version of the file."""
        return self.file.put(EXTENSIONS, *resources)

    def becomes(self, status, target="/"):
        """Waits until every listener answers so."""
        for port in self.ports:
            until(lambda port=port: fetch(port, target).status == status, what=f"{status}")

    def stats(self, **wanted):
        """Waits for statistics of the subscription."""
        for name, value in wanted.items():
            self.proxy.wait_stat(SCOPE + name, value)


@pytest.fixture
def filtered(proxy_kind, tmp_path):
    """Makes such a proxy."""
    made = []

    def make(*filters, **options):
        made.append(Filtered(proxy_kind, tmp_path, *filters, **options))
        return made[-1]

    yield make
    for one in made:
        one.proxy.stop()


def test_configurations_follow_the_file(filtered):
    """None, the first, another, what is wrong, and a good one again: on connections that are open too."""
    one = filtered(count=2).start()
    one.becomes(500)
    one.stats(config_reload=0, config_fail=1, update_rejected=1)
    with Connection(one.ports[0]) as kept:
        kept.send(request_bytes())
        assert kept.read_response().status == 500
        one.put(named(aborts(418)))
        one.becomes(418)
        one.stats(config_reload=1, update_success=1)
        kept.send(request_bytes())
        assert kept.read_response().status == 418
    for bad, word in (
            (named({"@type": BUFFER, "max_request_bytes": 3}), "Buffer"),
            (named(aborts(419), "other"), "other"),
            (named({**aborts(420), "abort": {"http_status": 18}}), "http_status")):
        rejected = one.proxy.stat(SCOPE + "update_rejected")
        one.put(bad)
        one.stats(update_rejected=rejected + 1, config_fail=rejected + 1)
        lines = [line for line in one.proxy.output().splitlines() if "warn" in line]
        assert any(word in line for line in lines) or word in one.proxy.output(), lines
    one.put(named(aborts(421)), named(aborts(422), "second"))
    one.stats(update_rejected=5)
    assert fetch(one.ports[1]).status == 418
    version = one.put(named(aborts(423)))
    one.becomes(423)
    one.stats(config_reload=2, config_conflict=0)
    shown = json.loads(one.proxy.admin("/config_dump?resource=ecds_filters").body)["configs"]
    assert [each["version_info"] for each in shown] == [version]
    assert shown[0]["ecds_filter"]["typed_config"]["abort"]["http_status"] == 423
    assert shown[0]["@type"].endswith("EcdsConfigDump.EcdsFilterConfig")
    lines = until(lambda: "418" in one.log.read_text() and one.log.read_text().splitlines())
    # Envoy has no words for it.
    assert lines[0] == ("500 NFCF []" if one.proxy.kind == "envoy" else "500 NFCF [-]")


def test_a_request_keeps_what_it_began_with(filtered):
    """Its answer is changed as its own configuration says; the next request's as the new one says."""
    go = threading.Event()
    with Upstream(lambda exchange: [go.wait(10), reply()(exchange)]) as upstream:
        one = filtered(upstream=upstream, routes=[
            {"match": {"prefix": "/"}, "route": {"cluster": "up"}}])
        one.filters = [discovered("dyn", one.file.source, MUTATION)]
        one.start(named(marks("old")))
        with Connection(one.ports[0]) as early:
            early.send(request_bytes())
            upstream.wait_requests(1)
            one.put(named(marks("new")))
            one.stats(config_reload=2)
            go.set()
            assert early.read_response().value("x-mark") == "old"
        until(lambda: fetch(one.ports[0]).value("x-mark") == "new")


def test_the_default_goes_until_something_comes(filtered):
    """With and without waiting; what a route says of the filter goes whatever its configuration is."""
    one = filtered(routes=[
        {**says("off", prefix="/off"), "typed_per_filter_config": {"dyn": {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "disabled": True, "config": {}}}},
        {**says("own", prefix="/own"), "typed_per_filter_config": {"dyn": aborts(432)}},
        says("routed")])
    one.filters = [discovered("dyn", one.file.source, default_config=aborts(430),
                              apply_default_config_without_warming=True)]
    one.start()
    one.becomes(430)
    one.becomes(432, "/own")
    one.becomes(200, "/off")
    one.put(named(aborts(431)))
    one.becomes(431)
    one.becomes(432, "/own")
    one.becomes(200, "/off")
    one.put()
    one.stats(update_rejected=2)
    one.becomes(431)


def test_other_kinds_take_its_place(filtered):
    """One of several types; the filters around it stay as they are."""
    one = filtered()
    one.filters = [
        {"name": "mark", "typed_config": marks("static")},
        discovered("dyn", one.file.source, FAULT, MUTATION)]
    one.start(named(aborts(418)))
    one.becomes(418)
    one.put(named({"@type": MUTATION, "mutations": {"response_mutations": [
        {"append": {"header": {"key": "x-other", "value": "came"}}}]}}))
    one.becomes(200)
    answer = fetch(one.ports[0])
    assert (answer.value("x-mark"), answer.value("x-other")) == ("static", "came")


MISTAKES = {
    "the router": (dict(types=[FILTERS + "router.v3.Router"]), "router"),
    "a type that nobody has": (dict(types=[FILTERS + "nothing.v3.Nothing"]), "nothing.v3.Nothing"),
    "a default of another type": (dict(types=[BUFFER], default_config=aborts(500)), "HTTPFault"),
    "no default to apply": (dict(types=[FAULT], apply_default_config_without_warming=True),
                            "default"),
}


def test_mistakes_are_named(proxy_kind, tmp_path):
    """At the start, with the place."""
    file = ResourceFile(tmp_path / "filters.yaml")
    file.put(EXTENSIONS)
    for what, (options, word) in MISTAKES.items():
        types = options.pop("types")
        if proxy_kind == "envoy" and what == "the router":
            continue
        document = bootstrap([listener("main", free_port(), [says("x")], [
            discovered("dyn", file.source, *types, **options)])], [], None)
        code, output = Proxy(proxy_kind).validate(document)
        assert code != 0 and word in output, (what, output)
        if proxy_kind == "fairlead":
            assert "http_filters[0].config_discovery" in output, output


@pytest.mark.alone("how soon workers let go of what was")
def test_replaced_configurations_are_freed(filtered, proxy_kind):
    """Hundreds of versions under load: no request fails, and nothing is left behind."""
    if proxy_kind == "envoy":
        pytest.skip("Fairlead only")
    over = threading.Event()
    one = filtered()
    one.filters = [discovered("dyn", one.file.source, MUTATION)]
    one.start(named(marks("first")))

    def update(first, count):
        for number in range(first, first + count):
            one.put(named({"@type": MUTATION, "mutations": {"response_mutations": [
                {"append": {"header": {"key": f"x-{number}-{index}", "value": "x" * 100}}}
                for index in range(30)]}}))
            until(lambda n=number: one.proxy.stat(SCOPE + "config_reload") >= n + 2)

    threads, statuses, wrong = load(one.ports[0], over)
    update(0, 30)
    before = allocated(one.proxy)
    update(30, 150)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100
    # One such version alone takes more than 10 KiB.
    shrinks_to(one.proxy, before + 150_000)
