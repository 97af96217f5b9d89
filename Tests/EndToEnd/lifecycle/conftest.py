"""A proxy that each test starts for itself."""

import pytest

from harness.proxy import Proxy, bootstrap, free_port
from harness.simple import cluster, listener
from harness.upstream import Upstream


@pytest.fixture
def upstream():
    """An upstream that says hello."""
    with Upstream() as one:
        yield one


@pytest.fixture
def proxy(proxy_kind, upstream):
    """A proxy, not started yet, with its document, listener port and log."""
    with Proxy(proxy_kind) as one:
        one.port = free_port()
        one.log = one.directory / "access.log"
        one.document = bootstrap(
            [listener("main", one.port, access_log=(one.log, "%REQ(:PATH)% %RESPONSE_CODE%\n"),
                      drain_timeout="0.5s")],
            [cluster("up", upstream.port)], free_port())
        yield one
