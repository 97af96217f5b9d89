"""The proxy of these tests."""

import pytest

from harness.ports import free_port
from harness.proxy import Proxy, bootstrap
from harness.simple import cluster, listener
from harness.upstream import Upstream

LINE = ("%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% "
        "%RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT%\n")


@pytest.fixture
def run(proxy_kind):
    """Starts a proxy before an upstream; returns (proxy, port, upstream)."""
    open_ = []

    def start(behaviour=None, **manager):
        upstream, port = Upstream(behaviour), free_port()
        proxy = Proxy(proxy_kind)
        log = proxy.directory / "access.log"
        document = bootstrap(
            [listener("main", port, access_log=(log, LINE), **manager)],
            [cluster("up", upstream.port)], free_port())
        proxy.start(document)
        proxy.log = log
        open_.extend([proxy, upstream])
        return proxy, port, upstream

    yield start
    for one in open_:
        one.stop()
