"""Listeners that change in their filter chains alone: what did not change goes on."""

import threading

import pytest

from harness.client import Connection, fetch, request_bytes
from harness.discovery import LISTENERS, ROUTES, ResourceFile, route_config, says
from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream, reply
from harness.waiting import until

from .conftest import allocated, following, load, shrinks_to

TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


class Chained:
    """A proxy with one listener, whose chains are chosen by the client's address."""

    def __init__(self, kind, directory, arguments):
        self.port = free_port()
        self.file = ResourceFile(directory / "listeners.yaml")
        self.routes = ResourceFile(directory / "routes.yaml")
        self.kind = kind
        self.arguments = list(arguments)
        self.upstream = Upstream(reply(200, b"up"))
        self.peer = Upstream(reply(200, b"peer"))
        self.proxy = Proxy(kind)

    def start(self, *chains, **more):
        """Starts it with these chains."""
        self.file.put(LISTENERS, self.listener(*chains, **more))
        extra = ["--concurrency", "2", "--drain-strategy", "immediate", *self.arguments]
        self.proxy.start(bootstrap(
            [], [cluster("up", self.upstream.port), cluster("peer", self.peer.port)], free_port(),
            dynamic_resources={"lds_config": self.file.source}), extra)
        return self

    def listener(self, *chains, **more):
        """The listener with these chains."""
        return {**listener("l", self.port), "filter_chains": list(chains), **more}

    def put(self, *chains, **more):
        """Another version of the listener; returns when it is there."""
        before = self.stat("listener_modified")
        self.file.put(LISTENERS, self.listener(*chains, **more))
        self.proxy.wait_stat("listener_manager.listener_modified", before + 1)

    def chain(self, name, host, *routes, **manager):
        """A chain for clients at one address."""
        made = listener(name, 0, list(routes) or None, **manager)["filter_chains"][0]
        return {"name": name, **made, **self.match(host)}

    def tcp(self, name, host, **more):
        """A chain that passes bytes on."""
        return {"name": name, **self.match(host), "filters": [{"name": "tcp", "typed_config": {
            "@type": TCP, "stat_prefix": name, "cluster": "peer", **more}}]}

    @staticmethod
    def match(host):
        """What chooses a chain."""
        return {"filter_chain_match": {
            "source_prefix_ranges": [{"address_prefix": host, "prefix_len": 32}]}}

    def stat(self, name):
        """A statistic of listeners."""
        return self.proxy.stat(f"listener_manager.{name}")

    def client(self, host):
        """A connection from an address."""
        return Connection(self.port, source=host)

    def becomes(self, host, body):
        """Waits until a new client at an address is answered so."""
        def answer():
            with self.client(host) as client:
                return ask(client).body == body
        until(answer, what=f"the answer {body}")

    def stop(self):
        """Ends all of it."""
        self.proxy.stop()
        self.upstream.stop()
        self.peer.stop()


def ask(client):
    """One request."""
    client.send(request_bytes())
    return client.read_response()


ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture
def chained(proxy_kind, tmp_path):
    """Makes a proxy whose listener's chains change."""
    open_ = []

    def make(*arguments):
        open_.append(Chained(proxy_kind, tmp_path, arguments))
        return open_[-1]

    yield make
    for one in open_:
        one.stop()


def test_only_changed_chains_drain(chained):
    """The connections of an unchanged chain go on; those of a changed one are told to go."""
    one = chained()
    kept = one.chain("kept", ONE, says("kept"))
    one.start(kept, one.chain("changed", TWO, says("before")), one.chain("gone", THREE, says("x")))
    with one.client(ONE) as stays, one.client(TWO) as goes, one.client(THREE) as leaves:
        assert [ask(c).body for c in (stays, goes, leaves)] == [b"kept", b"before", b"x"]
        one.put(kept, one.chain("changed", TWO, says("after")))
        one.becomes(TWO, b"after")
        answer = ask(stays)
        assert answer.body == b"kept" and answer.value("connection") is None
        answer = ask(goes)
        assert answer.body == b"before" and answer.value("connection") == "close"
        assert one.stat("listener_in_place_updated") == 1
        assert one.stat("total_filter_chains_draining") == 2
        assert one.stat("total_listeners_draining") == 0
        assert one.stat("listener_stopped") == 0
        assert one.stat("listener_create_success") == 4
        assert ask(leaves).value("connection") == "close"
        with one.client(THREE) as refused:
            assert refused.ends_within(5)
        assert ask(stays).value("connection") is None
        if one.kind == "fairlead":
            assert goes.ends_within(5) and leaves.ends_within(5)
        goes.close()
        leaves.close()
        one.proxy.wait_stat(f"listener.127.0.0.1_{one.port}.downstream_cx_active", 1)
    if one.kind == "fairlead":
        until(lambda: one.stat("total_filter_chains_draining") == 0)


def test_what_is_not_a_chain_replaces_the_listener(chained):
    """Another option of the listener drains all chains."""
    one = chained()
    kept = one.chain("kept", ONE, says("kept"))
    one.start(kept)
    with one.client(ONE) as client:
        ask(client)
        one.put(kept, per_connection_buffer_limit_bytes=99999)
        one.proxy.wait_stat("listener_manager.total_listeners_active", 1)
        one.proxy.wait_stat("listener_manager.listener_create_success", 4)
        until(lambda: ask(client).value("connection") == "close")
    assert one.stat("listener_in_place_updated") == 0


def test_default_chains_and_new_ones(chained):
    """A default chain is a chain like others, and so is one that comes."""
    one = chained()
    kept = one.chain("kept", ONE, says("kept"))
    default = one.chain("d", TWO, says("default"))
    del default["filter_chain_match"]
    one.start(kept)
    with one.client(ONE) as client:
        ask(client)
        one.put(kept, default_filter_chain=default)
        one.becomes(TWO, b"default")
        with one.client(TWO) as other:
            assert ask(other).body == b"default"
            one.put(kept, one.chain("new", THREE, says("new")), default_filter_chain=default)
            one.becomes(THREE, b"new")
            assert ask(other).value("connection") is None
        assert ask(client).value("connection") is None
    assert one.stat("listener_in_place_updated") == 2


def test_bytes_pass_on_while_chains_change(chained):
    """A session of an unchanged chain outlasts the drain time; one of a changed chain does not."""
    one = chained("--drain-time-s", "1")
    kept = one.tcp("kept", ONE)
    one.start(kept, one.tcp("changed", TWO), one.chain("http", THREE, says("before")))
    with one.client(ONE) as stays, one.client(TWO) as goes:
        assert [ask(client).body for client in (stays, goes)] == [b"peer", b"peer"]
        one.put(kept, one.tcp("changed", TWO, max_connect_attempts=2),
                one.chain("http", THREE, says("after")))
        one.becomes(THREE, b"after")
        assert goes.ends_within(10)
        assert ask(stays).body == b"peer"


def test_routes_of_a_kept_chain_are_followed(chained):
    """What a chain takes by name still reaches it after another one has changed."""
    one = chained()
    one.routes.put(ROUTES, route_config("local", says("first")))
    kept = following({"filter_chains": [one.chain("kept", ONE)]}, "local",
                     one.routes.source)["filter_chains"][0]
    one.start(kept, one.chain("other", TWO, says("one")))
    with one.client(ONE) as client:
        assert ask(client).body == b"first"
        one.put(kept, one.chain("other", TWO, says("two")))
        one.becomes(TWO, b"two")
        one.routes.put(ROUTES, route_config("local", says("second")))
        until(lambda: ask(client).body == b"second")


def test_load_on_a_kept_chain(chained, proxy_kind):
    """Another chain changes all the time: nobody on this one notices, and nothing is left behind."""
    one = chained()
    kept = one.chain("kept", ONE)
    del kept["filter_chain_match"]
    one.start(kept, one.chain("other", TWO, says("0")))
    over = threading.Event()
    threads, statuses, wrong = load(one.port, over)

    def update(first, count):
        for number in range(first, first + count):
            one.put(kept, one.chain("other", TWO, *(
                says("x" * 100, path=f"/{number}/{index}") for index in range(20)), says(
                    str(number))))
            one.becomes(TWO, str(number).encode())

    update(1, 20)
    if proxy_kind == "fairlead":
        until(lambda: one.stat("total_filter_chains_draining") == 0)
        before = allocated(one.proxy)
        update(21, 60)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(statuses) > 100
    assert one.proxy.stat("http.kept.downstream_cx_total") == 4
    if proxy_kind == "fairlead":
        until(lambda: one.stat("total_filter_chains_draining") == 0)
        shrinks_to(one.proxy, before + 300_000)
    assert fetch(one.port).status == 200
