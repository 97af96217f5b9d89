"""The proxy that all faults of a file go through."""

import pytest

from .site import Site


@pytest.fixture(scope="module")
def site(proxy_kind):
    """One proxy for all faults; at the end it is alive and has no descriptor more than before."""
    one = Site(proxy_kind)
    # The first request brings up what a proxy opens once.
    assert one.ask()[0].status == 200
    yield one
    alive = one.proxy.alive()
    one.stop()
    assert alive, f"the proxy died:\n{one.proxy.output()[-3000:]}"


@pytest.fixture(autouse=True)
def healthy_afterwards(site):
    """Whatever happened, the next request is served."""
    yield
    assert site.ask("/patient")[0].status == 200
