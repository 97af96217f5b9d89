"""Proxies that a tool looks into."""

import pytest

from ctl import sidecar
from harness.ports import free_port
from harness.proxy import Proxy
from harness.waiting import until


class Sidecar:
    """A proxy with a sidecar's configuration."""

    def __init__(self, kind, with_metadata=False):
        self.proxy = Proxy(kind)
        self.outbound, self.inbound = free_port(), free_port()
        sidecar.write(self.proxy.directory, self.outbound, self.inbound, with_metadata)
        self.proxy.start(sidecar.bootstrap(self.proxy.directory, free_port()))
        until(lambda: self.proxy.stat("listener_manager.lds.update_success") == 1, 10, "listeners")

    @property
    def admin(self):
        """Its admin port, as the tool takes it."""
        return f"127.0.0.1:{self.proxy.admin_port}"

    def general(self, text):
        """An answer without what two proxies cannot have alike: their ports and folders."""
        for own, common in ((self.outbound, "15001"), (self.inbound, "15006"),
                            (self.proxy.admin_port, "15000"), (self.proxy.directory, "/etc")):
            text = text.replace(str(own), common)
        return text


@pytest.fixture(scope="module", params=["fairlead", "envoy"])
def one_sidecar(request):
    """Fairlead, then the real Envoy."""
    made = Sidecar(request.param)
    yield made
    made.proxy.stop()


@pytest.fixture(scope="module")
def sidecars():
    """Both, with the same configuration."""
    made = [Sidecar("fairlead"), Sidecar("envoy")]
    yield made
    for each in made:
        each.proxy.stop()


@pytest.fixture(scope="module")
def envoy_sidecar():
    """Envoy, with Istio's metadata at its clusters."""
    made = Sidecar("envoy", with_metadata=True)
    yield made
    made.proxy.stop()
