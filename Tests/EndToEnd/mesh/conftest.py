"""What the tests of the control plane share."""

import pytest

from harness.client import fetch
from harness.control import (
    Control, ads_cluster, ads_listener, endpoints, proxy_bootstrap, routes, to)
from harness.ports import free_port
from harness.proxy import Proxy
from harness.upstream import Upstream, reply
from harness.waiting import until


@pytest.fixture
def control(tmp_path):
    """Makes a control plane that serves these resources."""
    made = []

    def make(*resources, start=True):
        made.append(Control(tmp_path, *resources))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        if one.process:
            one.stop()


class Mesh:
    """A control plane, a proxy that has everything from it, and two upstreams."""

    def __init__(self, control, kind, delta, start=True):
        self.one, self.two = Upstream(reply(body=b"one")), Upstream(reply(body=b"two"))
        self.port = free_port()
        self.control = control(*self.resources(), start=start)
        self.proxy = Proxy(kind)
        self.delta = delta

    def resources(self, *entries, one=None, more=()):
        """A listener, its routes, and a cluster with its endpoints."""
        ports = [self.one.port] if one is None else one
        return [ads_listener("main", self.port), routes("local", *(entries or [to("a")])),
                ads_cluster("a"), endpoints("a", *ports), *more]

    def start(self, **options):
        """Starts the proxy; returns when it is ready, unless told otherwise."""
        document = proxy_bootstrap(self.control.port, free_port(), self.delta)
        self.proxy.start(document, ("--concurrency", "2"), **options)
        return self

    def becomes(self, wanted, target="/"):
        """Waits until the proxy answers so."""
        until(lambda: fetch(self.port, target).body == wanted, 10, f"{target} to answer {wanted}")

    def rejections(self):
        """Updates of any kind that the proxy refused."""
        return sum(value for name, value in self.proxy.stats("update_rejected").items())

    def stop(self):
        """Ends all but the control plane."""
        self.proxy.stop()
        self.one.stop()
        self.two.stop()


@pytest.fixture(params=["world", "delta"])
def is_delta(request):
    """Both variants of the protocol."""
    return request.param == "delta"


@pytest.fixture(params=["fairlead", "envoy"])
def mesh(control, request, is_delta):
    """Fairlead, and the real Envoy, driven by our control plane."""
    made = Mesh(control, request.param, is_delta)
    yield made.start()
    made.stop()


@pytest.fixture
def late_mesh(control, proxy_kind, is_delta):
    """The same, with nothing started yet: the control plane has a port to come to."""
    made = Mesh(control, proxy_kind, is_delta, start=False)
    made.control.port = free_port()
    yield made
    made.stop()
