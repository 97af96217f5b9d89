"""Clients that send without end, in a process of their own: beside the tests' threads they would get
too little of the machine to press anybody.

The process reads one JSON object: {port, count, start, piece, seconds}, bytes as hexadecimal. It opens
so many connections, sends `start` on each and then `piece` again and again, resets them all, and
prints how many bytes went out.
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time


def pour(port, count, start, piece, seconds):
    """The test's side: how many bytes were sent."""
    order = {"port": port, "count": count, "start": start.hex(), "piece": piece.hex(), "seconds": seconds}
    done = subprocess.run([sys.executable, __file__], input=json.dumps(order), stdout=subprocess.PIPE,
                          text=True, check=True, timeout=seconds + 30)
    return int(done.stdout)


def _send_all(sockets, piece, seconds):
    end = time.monotonic() + seconds
    rest = {one: b"" for one in sockets}
    sent = 0
    while time.monotonic() < end and rest:
        idle = True
        for one in list(rest):
            try:
                data = rest[one] or piece
                count = one.send(data)
                rest[one] = data[count:]
                sent += count
                idle = False
            except BlockingIOError:
                pass
            except OSError:
                del rest[one]
        if idle and rest:
            select.select([], list(rest), [], max(0, end - time.monotonic()))
    return sent


def main():
    """The process's side."""
    order = json.load(sys.stdin)
    sockets = [socket.create_connection(("127.0.0.1", order["port"]), 10) for _ in range(order["count"])]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sendall(bytes.fromhex(order["start"]))
        one.setblocking(False)
    print(_send_all(sockets, bytes.fromhex(order["piece"]), order["seconds"]))


if __name__ == "__main__":
    main()
