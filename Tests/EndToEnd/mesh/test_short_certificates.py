"""Mutual TLS by certificates that live for ten seconds: no request notices that they are replaced."""

import os
import time

import pytest

from harness.load import Load
from harness.mutual import MutualMesh, peers
from harness.waiting import until

# `FAIRLEAD_SOAK_SECONDS=120` for two minutes.
SECONDS = float(os.environ.get("FAIRLEAD_SOAK_SECONDS", "14"))
LIFE = 10
# Every few requests begin a connection, with a handshake.
RULES = peers("STRICT") + """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 20}}}
"""


@pytest.mark.unsanitized("certificates that live for seconds need a quick program")
@pytest.mark.timeout(SECONDS + 100)
@pytest.mark.parametrize("kinds", [("fairlead", "fairlead"), ("envoy", "fairlead")], ids="-".join)
def test_renewal_under_load(kinds, tmp_path):
    mesh = MutualMesh(tmp_path, kinds, LIFE)
    load = None
    try:
        mesh.control.apply("rules.yaml", RULES)
        until(lambda: mesh.plain() is None and mesh.ask().status == 200, 10, "strict mutual TLS")
        load = Load(mesh.client_address, 80, "shop")
        end = time.monotonic() + SECONDS
        until(lambda: time.monotonic() > end or load.wrong, SECONDS + 10, "the time to pass")
        assert not load.wrong, load.wrong[:3]
        renewals = mesh.client.stat("sds.default.update_success")
        assert renewals >= SECONDS // LIFE + 1
        handshakes = sum(mesh.server.stats("ssl.handshake").values())
        assert handshakes > load.count / 40
        assert sum(mesh.server.stats("ssl.fail_verify").values()) == 0
        print(f"\n{load.count} requests, {handshakes} handshakes, {renewals} certificates")
    finally:
        if load:
            load.stop()
        mesh.stop()
    assert not load.wrong, load.wrong[:3]
