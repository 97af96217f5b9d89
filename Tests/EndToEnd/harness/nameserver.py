"""A name server on loopback: what it knows, and how it fails, is the test's choice at any moment."""

import socket
import struct
import threading
from dataclasses import dataclass

NXDOMAIN, SERVFAIL, NOERROR = 3, 2, 0
_TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


@dataclass
class Name:
    """What is known of a name: addresses of both families, each with its seconds to live."""

    addresses: tuple = ()
    ttl: int = 300
    # The answer's code; where it is not NOERROR there are no addresses.
    code: int = NOERROR


class NameServer:
    """Answers A and AAAA over UDP, and counts what it was asked."""

    def __init__(self):
        self.names = {}
        self.changed = threading.Condition()
        self._asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes the thread, whose next look finds the socket closed.
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", self.port))
        self.socket.close()

    def says(self, name, *addresses, ttl=300, code=NOERROR):
        """From now on this is the answer for a name. An address may be a pair with its own TTL."""
        self.names[name] = Name(addresses, ttl, code)

    def asked(self, name):
        """How often a name was asked for, of whatever family."""
        with self.changed:
            return self._asked.count(name)

    def wait_asked(self, name, more=1, timeout=10.0):
        """Waits until the name is asked for so many times more."""
        with self.changed:
            wanted = self._asked.count(name) + more
            came = self.changed.wait_for(lambda: self._asked.count(name) >= wanted, timeout)
        assert came, f"{name} was asked for {self.asked(name)} times, not {wanted}"

    def _serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(4096)
                if len(query) > 12:
                    self.socket.sendto(self._answer(query), client)
            except OSError:
                return

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12:at + 5]
        name = ".".join(labels).lower()
        known = self.names.get(name, Name(code=NXDOMAIN))
        number = struct.unpack(">H", question[-4:-2])[0]
        records = [self._record(number, one, known.ttl) for one in known.addresses]
        records = [one for one in records if one]
        with self.changed:
            self._asked.append(name)
            self.changed.notify_all()
        # An answer, recursion available; the code in the lowest four bits.
        head = struct.pack(">HHHHHH", struct.unpack(">H", query[:2])[0], 0x8180 | known.code, 1,
                           len(records), 0, 0)
        return head + question + b"".join(records)

    @staticmethod
    def _record(number, address, ttl):
        if isinstance(address, tuple):
            address, ttl = address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if _TYPES.get(number) != family:
            return None
        data = socket.inet_pton(family, address)
        # The name is a pointer to the question's.
        return struct.pack(">HHHIH", 0xC00C, number, 1, ttl, len(data)) + data
