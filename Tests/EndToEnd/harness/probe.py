"""Another client, in a process of its own: what a flood costs the tests is not counted as its wait.

It brings its own upstream. Protocol: it prints that upstream's port; for each line with a proxy's
port it asks again and again until the next line, and then prints what it saw as JSON.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.client import Connection, request_bytes  # noqa: E402
from harness.upstream import Upstream, reply  # noqa: E402


class Probe:
    """The test's side."""

    def __init__(self):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.upstream_port = int(self.process.stdout.readline())

    def begin(self, port):
        """Asks the proxy at this port from now on."""
        self._say(str(port))

    def end(self):
        """{answers, longest, problem}: how many, the longest wait in seconds, what went wrong."""
        self._say("")
        return json.loads(self.process.stdout.readline())

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def _ask(port, ended, seen):
    try:
        while not ended.is_set():
            started = time.monotonic()
            with Connection(port, timeout=5) as connection:
                connection.send(request_bytes())
                status = connection.read_response().status
                if status != 200:
                    raise AssertionError(f"status {status}")
            seen["longest"] = max(seen["longest"], time.monotonic() - started)
            seen["answers"] += 1
            ended.wait(0.01)
    except (AssertionError, OSError) as problem:
        seen["problem"] = f"{type(problem).__name__}: {problem}"


def main():
    """The probe's side."""
    with Upstream(reply()) as upstream:
        print(upstream.port, flush=True)
        for line in sys.stdin:
            ended, seen = threading.Event(), {"answers": 0, "longest": 0.0, "problem": None}
            thread = threading.Thread(target=_ask, args=(int(line), ended, seen))
            thread.start()
            sys.stdin.readline()
            ended.set()
            thread.join()
            print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
