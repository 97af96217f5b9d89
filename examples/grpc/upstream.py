"""A gRPC service that is just enough for this example: it sends each call's message back.

It speaks gRPC over HTTP/1.1 with trailers, which Fairlead carries as well, so that the example needs
nothing but Python.
"""

import http.server
import sys


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers gRPC with gRPC, and anything else with 404."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        """Sends the body back."""
        body = self.read_body()
        if self.path != "/echo.Echo/Say":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "application/grpc")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.write(b"0\r\ngrpc-status: 0\r\n\r\n")

    def read_body(self):
        """The whole body: gRPC's has no length, so it comes in chunks."""
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        """Keeps the example's output clean."""


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
