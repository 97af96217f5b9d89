"""The proxy that all rows of a table go through."""

import pytest

from .site import Site


@pytest.fixture(scope="module")
def site(proxy_kind):
    """One proxy for all rows; a row that breaks it breaks the following ones too, loudly."""
    one = Site(proxy_kind)
    yield one
    alive = one.proxy.alive()
    one.stop()
    assert alive, f"the proxy died:\n{one.proxy.output()[-3000:]}"
