"""Clients that ask all the time."""

import threading

from .client import Connection, request_bytes
from .waiting import until


class Load:
    """Two clients of one proxy that ask all the time."""

    def __init__(self, address, port, host):
        self.port, self.host = port, host
        self.address, self.over = address, threading.Event()
        self.count, self.wrong = 0, []
        self.threads = [threading.Thread(target=self._guarded) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def _guarded(self):
        try:
            while not self.over.is_set():
                self._ask()
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.wrong.append(error)

    def _ask(self):
        with Connection(self.port, self.address) as client:
            while not self.over.is_set():
                client.send(request_bytes(host=self.host))
                response = client.read_response()
                self.count += 1
                if response.status != 200:
                    self.wrong.append((response.status, response.body))
                if response.value("connection") == "close":
                    return

    def grows(self):
        """Waits until clients have been answered for a while from now on."""
        before = self.count
        until(lambda: self.count > before + 50 or self.wrong, 20, "requests to be answered")

    def stop(self):
        """Ends the clients."""
        self.over.set()
        for thread in self.threads:
            thread.join()
