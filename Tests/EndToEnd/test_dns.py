"""Clusters whose hosts are names: asked for again and again, against a name server of the test's."""

import contextlib

import pytest

from harness.client import fetch
from harness.nameserver import NXDOMAIN, SERVFAIL, NameServer
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import address, cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
NAME = "up.test"
# Longer than any test: what is asked for again is so for another reason.
NEVER = "300s"
BOTH_TYPES = pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])


class Site:
    """A proxy with one cluster (more with `also`) that resolves names by the test's server."""

    def __init__(self, kind, server, port, clusters):
        self.port, self.server = free_port(), server
        self.upstream_port = port
        self.proxy = Proxy(kind)
        self.proxy.start(bootstrap([listener("main", self.port)], clusters, free_port()))

    def hosts(self, name="up"):
        """The addresses of a cluster's hosts, as admin tells them."""
        lines = self.proxy.admin("/clusters").body.decode().splitlines()
        mark = "::cx_active::"
        found = [line.removeprefix(name + "::").partition(mark)[0].rpartition(":")[0]
                 for line in lines if line.startswith(name + "::") and mark in line]
        return sorted(found)

    def wait_hosts(self, *addresses, name="up"):
        """Waits until these are the cluster's hosts."""
        until(lambda: self.hosts(name) == sorted(addresses), 10, f"{addresses}, not {self.hosts(name)}")

    def updates(self, name="up"):
        """The cluster's `update_…` counters."""
        prefix = f"cluster.{name}.update_"
        return {key.removeprefix(prefix): value
                for key, value in self.proxy.stats(f"^cluster.{name}.update_").items()
                if not key.endswith(("duration", "time"))}

    def answer(self):
        """What a client gets: the status, and who has answered."""
        response = fetch(self.port)
        return response.status, response.body


def dns_cluster(server, port, kind="STRICT_DNS", name="up", host=NAME, **extra):
    """A cluster that resolves one name."""
    config = cluster(name, type=kind, typed_dns_resolver_config={
        "name": "envoy.network.dns_resolver.cares", "typed_config": {
            "@type": CARES, "resolvers": [address(server.port)],
            "query_timeout_seconds": 1, "query_tries": 1}}, **extra)
    config["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": address(port, host)}}]}]
    return config


@pytest.fixture
def start(proxy_kind):
    """Starts a proxy, a name server and an upstream on each of three addresses, all on one port."""
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(NameServer())
        port = free_port()
        for host in ("127.0.0.2", "127.0.0.3", "::1"):
            ends.enter_context(Upstream(reply(body=host.encode()), address=(host, port)))

        def begin(*also, **options):
            clusters = [dns_cluster(server, port, **options)]
            clusters += [dns_cluster(server, port, **one) for one in also]
            site = Site(proxy_kind, server, port, clusters)
            ends.callback(site.proxy.stop)
            return site

        begin.server = server
        yield begin


@BOTH_TYPES
def test_hosts_follow_the_name_at_the_refresh_rate(start, kind):
    """However long an answer may be kept, unless its time to live is respected."""
    start.server.says(NAME, "127.0.0.2", ttl=300)
    site = start(kind=kind, dns_refresh_rate="0.1s", dns_lookup_family="V4_ONLY")
    site.wait_hosts("127.0.0.2")
    assert site.answer() == (200, b"127.0.0.2")
    start.server.wait_asked(NAME, 2)
    start.server.says(NAME, "127.0.0.3")
    site.wait_hosts("127.0.0.3")
    assert site.answer() == (200, b"127.0.0.3")
    updates = site.updates()
    assert updates["attempt"] >= updates["success"] >= 3, updates
    assert "failure" not in updates and "empty" not in updates, updates


@BOTH_TYPES
def test_hosts_follow_the_name_by_its_time_to_live(start, kind):
    """The shortest of an answer counts. A cluster that does not respect it asks no second time."""
    start.server.says(NAME, ("127.0.0.2", 300), ("127.0.0.3", 1))
    start.server.says("other.test", "127.0.0.2", ttl=1)
    site = start({"name": "other", "host": "other.test", "kind": kind, "dns_refresh_rate": NEVER,
                  "dns_lookup_family": "V4_ONLY"},
                 kind=kind, dns_refresh_rate=NEVER, respect_dns_ttl=True, dns_lookup_family="V4_ONLY")
    until(lambda: site.updates().get("success", 0) >= 3, 10, "the name to be asked for thrice")
    start.server.says(NAME, "127.0.0.3")
    site.wait_hosts("127.0.0.3")
    assert site.answer() == (200, b"127.0.0.3")
    assert site.updates("other")["attempt"] == 1


@pytest.mark.parametrize("family, strict, logical", [
    ("V4_ONLY", ["127.0.0.2", "127.0.0.3"], "127.0.0.2"),
    ("V6_ONLY", ["[::1]"], "[::1]"),
    ("AUTO", ["[::1]"], "[::1]"),
    ("V4_PREFERRED", ["127.0.0.2", "127.0.0.3"], "127.0.0.2"),
    ("ALL", ["127.0.0.2", "127.0.0.3", "[::1]"], "[::1]"),
])
def test_the_lookup_family_chooses_among_an_answers_addresses(start, family, strict, logical):
    """A STRICT_DNS cluster has a host for each, a LOGICAL_DNS one a host at the first."""
    start.server.says(NAME, "127.0.0.2", "127.0.0.3", "::1")
    site = start({"name": "logical", "kind": "LOGICAL_DNS", "dns_lookup_family": family},
                 kind="STRICT_DNS", dns_lookup_family=family)
    site.wait_hosts(*strict)
    site.wait_hosts(logical, name="logical")
    assert site.answer()[0] == 200


@pytest.mark.parametrize("family", ["AUTO", "V4_PREFERRED"])
def test_the_other_family_serves_when_the_wanted_one_has_nothing(start, family):
    """Both questions are asked in turn."""
    there = "127.0.0.2" if family == "AUTO" else "::1"
    start.server.says(NAME, there)
    site = start(dns_lookup_family=family)
    site.wait_hosts("127.0.0.2" if family == "AUTO" else "[::1]")
    assert site.answer() == (200, there.encode())


@pytest.mark.parametrize("gone", ["no such name", "no address"])
def test_a_name_that_is_gone_takes_the_hosts_of_a_strict_cluster(start, gone):
    """The answer is one, and says that there is nobody: 503, no healthy upstream."""
    start.server.says(NAME, "127.0.0.2")
    site = start(dns_refresh_rate="0.1s", dns_lookup_family="V4_ONLY")
    site.wait_hosts("127.0.0.2")
    start.server.says(NAME, code=NXDOMAIN if gone == "no such name" else 0)
    site.wait_hosts()
    assert site.answer() == (503, b"no healthy upstream")
    updates = site.updates()
    assert "failure" not in updates, updates
    start.server.says(NAME, "127.0.0.3")
    site.wait_hosts("127.0.0.3")
    assert site.answer() == (200, b"127.0.0.3")


@pytest.mark.parametrize("gone", ["no such name", "no address"])
def test_a_name_that_is_gone_leaves_a_logical_cluster_its_host(start, gone):
    """An answer without an address is a failure there, and counted as one."""
    start.server.says(NAME, "127.0.0.2")
    site = start(kind="LOGICAL_DNS", dns_refresh_rate="0.1s", dns_lookup_family="V4_ONLY")
    site.wait_hosts("127.0.0.2")
    start.server.says(NAME, code=NXDOMAIN if gone == "no such name" else 0)
    until(lambda: site.updates().get("failure", 0) >= 2, 10, "failures to be counted")
    assert site.hosts() == ["127.0.0.2"]
    assert site.answer() == (200, b"127.0.0.2")


@BOTH_TYPES
def test_a_server_that_fails_takes_no_hosts(start, kind):
    """It is asked again at the failure's rate, and at the ordinary one when it answers again."""
    start.server.says(NAME, "127.0.0.2", ttl=1)
    site = start(kind=kind, dns_refresh_rate=NEVER, respect_dns_ttl=True,
                 dns_lookup_family="V4_ONLY",
                 dns_failure_refresh_rate={"base_interval": "0.05s", "max_interval": "0.1s"})
    site.wait_hosts("127.0.0.2")
    start.server.says(NAME, code=SERVFAIL)
    until(lambda: site.updates().get("failure", 0) >= 5, 10, "failures to be counted")
    assert site.hosts() == ["127.0.0.2"]
    assert site.answer() == (200, b"127.0.0.2")
    start.server.says(NAME, "127.0.0.3", ttl=300)
    site.wait_hosts("127.0.0.3")
    updates = site.updates()
    assert updates["attempt"] == updates["success"] + updates["failure"], updates


@BOTH_TYPES
def test_a_cluster_whose_name_is_not_known_at_the_start_gets_its_host_later(start, kind):
    """The listeners open without it, and say so with 503."""
    start.server.says(NAME, code=SERVFAIL)
    site = start(kind=kind, dns_refresh_rate=NEVER, dns_lookup_family="V4_ONLY",
                 dns_failure_refresh_rate={"base_interval": "0.1s", "max_interval": "0.2s"})
    assert site.answer() == (503, b"no healthy upstream")
    start.server.says(NAME, "127.0.0.2")
    site.wait_hosts("127.0.0.2")
    assert site.answer() == (200, b"127.0.0.2")
