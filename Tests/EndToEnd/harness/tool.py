"""The command-line tool, and a control plane's HTTP port for it that says what a test tells it."""

import http.server
import json
import os
import pathlib
import subprocess
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from .proxy import fairlead_binary


def tool_binary():
    """`FAIRLEADCTL_BIN`, or what stands beside the proxy."""
    chosen = os.environ.get("FAIRLEADCTL_BIN")
    return chosen or str(pathlib.Path(fairlead_binary()).parent / "fairleadctl")


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def rows(self):
        """The lines of a table, each as its cells."""
        return [[cell.strip() for cell in line.split("     ") if cell.strip()]
                for line in self.out.splitlines()]

    @property
    def document(self):
        """The answer as JSON."""
        return json.loads(self.out)


def tool(*arguments, code=0, stdin=None):
    """Runs a command to its end, which is to have this exit code."""
    done = subprocess.run([tool_binary(), *map(str, arguments)], capture_output=True, text=True,
                          input=stdin, timeout=60, check=False)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return Outcome(done.returncode, done.stdout, done.stderr)


class ControlPages:
    """Answers `GET` with documents by path and query, and 404 with what it does not have."""

    def __init__(self, pages=None):
        self.pages = dict(pages or {})
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One question."""

            def do_GET(self):  # noqa: N802
                """Looks the path up, with its query or without."""
                outer.asked.append(self.path)
                page = outer.pages.get(self.path, outer.pages.get(urlsplit(self.path).path))
                body = b"no such page\n" if page is None else json.dumps(page).encode()
                self.send_response(404 if page is None else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Tests look at `asked` instead."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self):
        """For `--control`."""
        return f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
