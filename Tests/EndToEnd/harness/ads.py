"""A control plane that says whatever a test wants, right or wrong, over state-of-the-world ADS."""

import queue
from concurrent import futures

import grpc

from .control import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from .protobuf import field, fields, parse, text
from .waiting import until

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
WILDCARD = (CLUSTER, LISTENER)


WRAPPER = "type.googleapis.com/envoy.service.discovery.v3.Resource"


class Wrapped:
    """A resource in the message that carries its name and version besides."""

    def __init__(self, type_url, name, resource, version="w", ttl=None):
        """Without a resource it is a heartbeat; `ttl` is in milliseconds."""
        self.message = field(1, version) + field(3, name)
        if resource is not None:
            self.message += field(2, field(1, type_url) + field(2, resource))
        if ttl is not None:
            self.message += field(6, field(1, ttl // 1000) + field(2, ttl % 1000 * 1_000_000))

    def __bytes__(self):
        return self.message


class Request:
    """One `DiscoveryRequest`, taken apart."""

    def __init__(self, data):
        found = parse(data)
        self.version = text(found, 1)
        self.node = parse(found[2][0]) if 2 in found else None
        self.names = [name.decode() for name in found.get(3, [])]
        self.type = text(found, 4)
        self.nonce = text(found, 5)
        self.error = text(parse(found[6][0]), 2) if 6 in found else None


class ScriptedControl:
    """Serves one stream at a time, for as long as the object lives."""

    def __init__(self, identity=None, authority=None):
        """With an identity it speaks TLS, and wants a certificate of that authority's."""
        self.requests = []
        self.metadata = []
        self.peers = []
        self.answers = queue.Queue()
        self.nonce = 0
        self.port = 0
        self.credentials = identity and grpc.ssl_server_credentials(
            [(identity.key.read_bytes(), identity.certificate.read_bytes())],
            authority.certificate.read_bytes(), require_client_auth=True)
        self._serve()

    def _serve(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            SERVICE, {"StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._stream)})])
        address = f"127.0.0.1:{self.port}"
        self.port = self.server.add_secure_port(address, self.credentials) if self.credentials \
            else self.server.add_insecure_port(address)
        self.server.start()

    def restart(self):
        """Ends every connection, and listens again on the same port."""
        self.answers.put(None)
        self.server.stop(0).wait()
        self._serve()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answers.put(None)
        self.server.stop(0)

    def _stream(self, requests, context):
        self.metadata = list(context.invocation_metadata())
        self.peers.append(context.auth_context().get("x509_subject_alternative_name", []))

        def read():
            try:
                for request in requests:
                    self.requests.append(Request(request))
            except grpc.RpcError:
                pass

        reading = futures.ThreadPoolExecutor(1)
        reading.submit(read)
        yield from iter(self.answers.get, None)

    def send(self, type_url, version, *resources, url=None):
        """Sends resources, each a message's bytes, or that of a wrapper."""
        self.nonce += 1
        packed = [
            field(1, WRAPPER if isinstance(one, Wrapped) else url or type_url) + field(2, bytes(one))
            for one in resources]
        self.answers.put(
            field(1, version) + fields(2, packed) + field(4, type_url)
            + field(5, str(self.nonce)) + field(6, field(1, "scripted")))
        return str(self.nonce)

    def asked(self, type_url):
        """The requests of one type so far."""
        return [one for one in self.requests if one.type == type_url]

    def wait(self, type_url, condition=lambda _: True):
        """Waits for a request of a type, and returns the first that fits."""
        return until(
            lambda: next((one for one in self.asked(type_url) if condition(one)), None), 10,
            f"a request for {type_url}")

    def answered(self, type_url, nonce):
        """Waits for what the proxy says to an answer."""
        return self.wait(type_url, lambda one: one.nonce == nonce)


def eds_cluster(name, extra=b""):
    """A cluster, as bytes, whose endpoints come over ADS."""
    ads = field(3, b"") + field(6, 2)
    return field(1, name) + field(2, 3) + field(3, field(1, ads)) + field(4, field(1, 1)) + extra


def assignment(name, port):
    """One endpoint on loopback, as bytes."""
    address = field(1, field(2, "127.0.0.1") + field(3, port))
    endpoint = field(1, field(1, address))
    return field(1, name) + field(2, field(2, endpoint))


def route_configuration(name, cluster, prefix="/"):
    """Everything to one cluster, as bytes."""
    route = field(1, field(1, prefix)) + field(2, field(1, cluster))
    host = field(1, "all") + field(2, "*") + field(3, route)
    return field(1, name) + field(2, host)


__all__ = ["CLUSTER", "ENDPOINTS", "LISTENER", "ROUTES", "ScriptedControl", "Wrapped",
           "assignment", "eds_cluster", "route_configuration"]
