"""TLS for tests: transport sockets, an upstream and a client that speak it with Python's ssl."""

import socket
import ssl
import threading

from .client import Connection

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def upstream_tls(**context):
    """A cluster's `transport_socket`."""
    return {"name": "tls", "typed_config": {"@type": f"{_TLS}.UpstreamTlsContext", **context}}


def downstream_tls(**context):
    """A filter chain's `transport_socket`."""
    return {"name": "tls", "typed_config": {"@type": f"{_TLS}.DownstreamTlsContext", **context}}


class TLSUpstream:
    """Answers every request with 200 and remembers how each connection was secured."""

    def __init__(self, identity, authority=None, require=False, version=None, body=b"hello"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.certificate, identity.key)
        if authority:
            self.context.load_verify_locations(authority.certificate)
            self.context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL
        if version:
            self.context.maximum_version = version
        self.context.sni_callback = self._named
        self.body = body
        self.names = []
        # One entry for each handshake that succeeded: version, resumed, peer certificate.
        self.handshakes = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()

    def _named(self, _session, name, _context):
        self.names.append(name)

    def _accept(self):
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with self.context.wrap_socket(sock, server_side=True) as session:
                self.handshakes.append(
                    (session.version(), session.session_reused, session.getpeercert()))
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = session.recv(65536)
                        if not more:
                            return
                        data += more
                    data = data.split(b"\r\n\r\n", 1)[1]
                    close = b"connection: close\r\n" if self.closes else b""
                    session.sendall(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s"
                                    % (close, len(self.body), self.body))
                    if self.closes:
                        return
        except OSError:
            return

    # Ends every connection after its answer.
    closes = False


class TLSConnection(Connection):
    """A client connection through TLS."""

    def __init__(self, port, authority, identity=None, name="server.example", protocols=(),
                 version=None, resumed=None, **options):
        super().__init__(port, **options)
        # `resumed`: an earlier connection whose session this one asks for.
        self.context = resumed.context if resumed else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        session = resumed.session if resumed else None
        self.context.load_verify_locations(authority.certificate)
        self.context.check_hostname = False
        if identity:
            self.context.load_cert_chain(identity.certificate, identity.key)
        if protocols:
            self.context.set_alpn_protocols(list(protocols))
        if version:
            self.context.maximum_version = version
        self.socket = self.context.wrap_socket(
            self.socket, server_hostname=name, session=session)

    @property
    def session(self):
        """What a later connection may resume; complete once something was received."""
        return self._session or self.socket.session

    def close(self):
        """Closes, and keeps the session."""
        self._session = self.socket.session
        super().close()

    _session = None
