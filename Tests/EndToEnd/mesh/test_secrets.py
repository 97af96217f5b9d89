"""Secrets over the control plane's stream (SDS): two proxies that speak mutual TLS to each other."""

import contextlib
import dataclasses
import json
import threading

import pytest

from harness.certificates import Authority, Identity
from harness.client import Connection, fetch, request_bytes
from harness.control import ADS, CLUSTER, proxy_bootstrap
from harness.discovery import SECRETS, certificate_secret, named_secret, trust_secret
from harness.ports import free_port
from harness.proxy import Proxy
from harness.simple import cluster, listener
from harness.tls import downstream_tls, upstream_tls
from harness.upstream import Upstream, reply
from harness.waiting import until

FORWARD = {"forward_client_cert_details": "SANITIZE_SET",
           "set_current_client_cert_details": {"uri": True}}


def common(own, trusted, names=(), source=ADS):
    """A common TLS context that has everything by name; `names` are asked for besides."""
    trust = named_secret(trusted, source)
    context = {"tls_certificate_sds_secret_configs": [named_secret(own, source)]}
    if not names:
        return {**context, "validation_context_sds_secret_config": trust}
    wanted = [{"san_type": "URI", "matcher": {"exact": name}} for name in names]
    return {**context, "combined_validation_context": {
        "default_validation_context": {"match_typed_subject_alt_names": wanted},
        "validation_context_sds_secret_config": trust}}


class Pair:
    """`front` takes plain requests and speaks TLS to `back`; both have their secrets from one control
    plane."""

    def __init__(self, control, directory, kinds, delta):
        self.authority = Authority(directory)
        self.upstream = Upstream(lambda e: reply(body=e.request.value(
            "x-forwarded-client-cert").encode())(e))
        self.secrets = {"roots": trust_secret("roots", self.authority)}
        for name in ("front", "back"):
            self.secrets[name] = certificate_secret(name, self.issue(name))
        self.control = control()
        self.delta = delta
        self.port, self.secure = free_port(), free_port()
        self.front, self.back = Proxy(kinds[0]), Proxy(kinds[1])
        # Envoy crashes when a cluster of its bootstrap takes secrets from ADS: it is sent this one.
        self.sent = [{"@type": CLUSTER, **self.to_back(ADS)}] if kinds[0] == "envoy" else []

    def issue(self, name, number=0):
        """A certificate of a workload."""
        identity = self.authority.issue(name, f"URI:spiffe://mesh/{name}/{number}",
                                        file=f"{name}{number}")
        return dataclasses.replace(identity)

    def serve(self, *names):
        """Has the control plane send these secrets, or all."""
        chosen = [self.secrets[name] for name in names or self.secrets]
        self.control.put(*({"@type": SECRETS, **one} for one in chosen), *self.sent)
        return self

    def to_back(self, source):
        """The cluster of `front`."""
        return cluster("up", self.secure, transport_socket=upstream_tls(
            sni="back.example", common_tls_context=common(
                "front", "roots", ["spiffe://mesh/back/0", "spiffe://mesh/back/1"], source)))

    def start(self, source=ADS, **options):
        """Starts both proxies."""
        inner = listener("inner", self.secure, **FORWARD)
        inner["filter_chains"][0]["transport_socket"] = downstream_tls(
            require_client_certificate=True, common_tls_context=common("back", "roots", (), source))
        self._start(self.back, inner, cluster("up", self.upstream.port), **options)
        outer = listener("outer", self.port)
        manager = outer["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["validate_clusters"] = False
        self._start(self.front, outer, *([] if self.sent else [self.to_back(source)]), **options)
        return self

    def _start(self, proxy, one, *clusters, **options):
        document = proxy_bootstrap(self.control.port, free_port(), self.delta)
        del document["dynamic_resources"]["lds_config"]
        if clusters:
            del document["dynamic_resources"]["cds_config"]
        document["static_resources"]["clusters"] += clusters
        document["static_resources"]["listeners"] = [one]
        proxy.start(document, ("--concurrency", "2"), **options)

    def becomes(self, wanted):
        """Waits until the client certificate that `back` sees is this one."""
        def ask():
            response = fetch(self.port)
            return response.status == 200 and wanted in response.body
        until(ask, 10, f"requests to come from {wanted}")

    def stop(self):
        """Ends all but the control plane."""
        self.front.stop()
        self.back.stop()
        self.upstream.stop()


KINDS = [("fairlead", "fairlead"), ("fairlead", "envoy"), ("envoy", "fairlead")]


@pytest.fixture(params=KINDS, ids="-".join)
def pair(control, tmp_path, request, is_delta):
    """Two proxies, not started yet."""
    made = Pair(control, tmp_path, request.param, is_delta)
    yield made
    made.stop()


@pytest.fixture
def alike(control, tmp_path, proxy_kind, is_delta):
    """The same, of the kind at hand."""
    made = Pair(control, tmp_path, (proxy_kind, proxy_kind), is_delta)
    yield made
    made.stop()


def test_secrets_of_the_control_plane_make_mutual_tls(pair):
    """Both sides show what they were sent, and believe whom they were told to."""
    pair.serve().start()
    pair.becomes(b"URI=spiffe://mesh/front/0")
    for proxy in (pair.front, pair.back):
        # Who asks again for a name, of another cluster or listener, may be told again.
        assert proxy.stat("sds.roots.update_success") >= 1


def test_rotation_under_load_fails_no_request(pair):
    """Keys and authorities change while clients ask, each on a connection of its own."""
    pair.serve().start()
    pair.becomes(b"front/0")
    over, statuses = threading.Event(), []

    def ask():
        while not over.is_set():
            with Connection(pair.port) as client:
                client.send(request_bytes(headers=[("connection", "close")]))
                statuses.append(client.read_response().status)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 4):
        for name, seen in (("front", number), ("back", 1)):
            pair.secrets[name] = certificate_secret(name, pair.issue(name, seen))
        pair.serve()
        for proxy, name in ((pair.front, "front"), (pair.back, "back")):
            proxy.wait_stat(f"sds.{name}.update_success", number + 1)
    over.set()
    for thread in threads:
        thread.join()
    assert statuses and set(statuses) == {200}
    with Connection(pair.port) as client:
        client.send(request_bytes())
        assert client.read_response().status == 200
    assert pair.front.stat("cluster.up.client_ssl_socket_factory.ssl_context_update_by_sds") >= 4


def spoil(pair, how):
    """A secret that nobody can use."""
    identity = pair.issue("front", 7)
    if how == "a key that does not fit":
        identity = Identity(identity.certificate, pair.issue("front", 8).key)
    elif how == "no certificate":
        identity.certificate.write_text("-----BEGIN CERTIFICATE-----\nnone\n")
    return certificate_secret("front", identity)


@pytest.mark.parametrize("how", ["a key that does not fit", "no certificate"])
def test_a_bad_secret_is_refused_by_name_and_the_old_one_stays(alike, how):
    """The control plane hears why; a good one comes through afterwards."""
    alike.serve().start()
    alike.becomes(b"front/0")
    alike.secrets["front"] = spoil(alike, how)
    alike.serve()
    alike.front.wait_stat("sds.front.update_rejected", 1)
    if alike.front.kind == "fairlead":
        alike.control.wait_log("Secret refused: front: ")
    assert fetch(alike.port).status == 200
    alike.secrets["front"] = certificate_secret("front", alike.issue("front", 9))
    alike.serve()
    alike.front.wait_stat("sds.front.update_success", 2)
    with Connection(alike.port) as client:
        client.send(request_bytes())
        assert client.read_response().status == 200


def listed(proxy, state):
    """The secrets of a state that the proxy shows."""
    body = proxy.admin(f"/config_dump?resource=dynamic_{state}_secrets").body
    return json.loads(body).get("configs", [])


def test_a_late_secret_is_waited_for_and_then_gone_without(alike):
    """Until `initial_fetch_timeout` nothing is served; then connections end, until the secret is there."""
    alike.serve("front", "back")
    alike.start({**ADS, "initial_fetch_timeout": "0.5s"})
    front, back = alike.front, alike.back
    assert fetch(alike.port).status == 503
    front.wait_stat("cluster.up.client_ssl_socket_factory.upstream_context_secrets_not_ready", 1)
    # It may be reset before it is through.
    with contextlib.suppress(ConnectionError), Connection(alike.secure) as client:
        client.send(b"\x16\x03\x01")
        assert client.ends_within(5)
    name = f"listener.127.0.0.1_{alike.secure}.server_ssl_socket_factory."
    back.wait_stat(name + "downstream_context_secrets_not_ready", 1)
    until(lambda: [(one["name"], one["version_info"]) for one in listed(front, "warming")]
          == [("roots", "uninitialized")], 5, "all but one secret")
    alike.serve()
    alike.becomes(b"front/0")


def test_keys_are_not_shown(alike):
    """`/config_dump` has everything of a secret but what is secret, `/certs` tells of it."""
    alike.serve().start()
    until(lambda: len(listed(alike.front, "active")) == 2, 5, "both secrets")
    dump = {one["name"]: one for one in listed(alike.front, "active")}
    assert sorted(dump) == ["front", "roots"]
    shown = dump["front"]["secret"]["tls_certificate"]
    assert shown["private_key"] == {"inline_string": "[redacted]"}
    assert "BEGIN CERTIFICATE" in shown["certificate_chain"]["inline_string"]
    assert b"PRIVATE KEY" not in alike.front.admin("/config_dump").body
    page = json.loads(alike.front.admin("/certs").body)["certificates"][0]
    assert page["cert_chain"][0]["path"] == "<inline>"
    assert page["cert_chain"][0]["subject_alt_names"] == [{"uri": "spiffe://mesh/front/0"}]
