"""A network of its own for one test: addresses, routes and redirects that touch nothing else.

A namespace belongs to a thread and to what that thread starts, so the test's own sockets, its servers
and its proxies are all inside.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess

import pytest

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# What a client that is to be redirected marks its packets with. The proxy does not, so that what it
# sends itself goes where it says.
MARK = 1


@contextlib.contextmanager
def namespace():
    """Runs the body in a new network with nothing but loopback; skips where the kernel refuses one."""
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"the kernel refuses a network namespace: {_error()}")
        try:
            _raise_loopback()
            yield
        finally:
            if libc.setns(outside, _CLONE_NEWNET) != 0:
                raise OSError(f"no way back to the first network: {_error()}")
    finally:
        os.close(outside)


def _error():
    return os.strerror(ctypes.get_errno())


def _raise_loopback():
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH14x", request)[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def run(*command, text=None):
    """A tool of the machine's; the test is skipped, with the reason, where the kernel refuses."""
    if not shutil.which(command[0]):
        pytest.fail(f"{command[0]} is missing; see scripts/install-deps")
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the kernel refuses `{' '.join(command)}`: {done.stderr.strip()[:300]}")


def redirect(ports, to):
    """Connections of marked sockets to these ports reach another one instead, IPv4 and IPv6."""
    rules = [f"meta mark {MARK} tcp dport {port} redirect to :{to}" for port in ports]
    for family in ("ip", "ip6"):
        run("nft", "-f", "-", text="\n".join([
            f"add table {family} test",
            f"add chain {family} test out {{ type nat hook output priority -100; }}",
            *(f"add rule {family} test out {rule}" for rule in rules)]))


def connect(host, port, source=None):
    """A marked client's connection."""
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    if source:
        client.bind((source, 0))
    client.settimeout(10)
    client.connect((host, port))
    return client
