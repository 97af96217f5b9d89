#!/usr/bin/env python3
"""A small upstream that answers with its name.

    upstream.py NAME PORT [ADDRESS]

    GET /          its name
    GET /flaky     503 and its name, by turns
    GET /headers   the request's fields, one a line
    GET /unwell    from now on /healthz says 503;  GET /well takes it back
    POST           the size of the body, and whether it came chunked
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Whether the application behind the proxy calls itself healthy.
state = {"well": True, "flaky_seen": 0}


class Upstream(BaseHTTPRequestHandler):
    """Answers as the module's docstring says. Keep-alive, as a real upstream would."""

    protocol_version = "HTTP/1.1"
    # A head and its body would leave in two segments, and the second would wait for the first's
    # acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    name = "upstream"

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/flaky":
            state["flaky_seen"] += 1
            self.reply(503 if state["flaky_seen"] % 2 else 200, self.name)
        elif path == "/headers":
            self.reply(200, "\n".join(f"{name.lower()}: {value}" for name, value in self.headers.items()))
        elif path == "/healthz":
            self.reply(200 if state["well"] else 503, "well" if state["well"] else "unwell")
        elif path in ("/well", "/unwell"):
            state["well"] = path == "/well"
            self.reply(200, "noted")
        else:
            self.reply(200, self.name)

    def do_POST(self):
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        size = self.read_chunks() if chunked else int(self.headers.get("content-length", 0))
        if not chunked:
            self.rfile.read(size)
        self.reply(200, f"{size} bytes, {'chunked' if chunked else 'with content-length'}")

    def read_chunks(self):
        """Reads a chunked body, gives its size."""
        total = 0
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return total

    def reply(self, status, text):
        """Sends a short text."""
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-internal-name", self.name)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        """The proxy's access log is the one to look at."""


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    Upstream.name = sys.argv[1]
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    ThreadingHTTPServer((address, int(sys.argv[2])), Upstream).serve_forever()
