"""Workloads that ask the control plane for certificates, with grpcio and the openssl program."""

import base64
import json
import re
import subprocess
from dataclasses import dataclass

import grpc

from .control import control_binary
from .protobuf import field, parse

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def openssl(*arguments, data=None):
    """Runs it; returns what it prints."""
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                          input=data).stdout


def new_key():
    """A private key in PEM."""
    return openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def new_request(directory, key, name=None):
    """A certificate request in PEM; `name` is a URI that it asks for."""
    file = directory / "request.key"
    file.write_bytes(key)
    more = ["-addext", f"subjectAltName=URI:{name}"] if name else []
    return openssl("req", "-new", "-key", file, "-subj", "/", *more)


def names(certificate):
    """The subject alternative names of a certificate, and whether they are critical."""
    text = openssl("x509", "-noout", "-ext", "subjectAltName", data=certificate).decode()
    return text.strip().splitlines()[-1].strip(), "critical" in text


def seconds(certificate):
    """For how many seconds a certificate lasts in all."""
    import datetime  # pylint: disable=import-outside-toplevel
    text = openssl("x509", "-noout", "-dates", data=certificate).decode()
    start, end = (datetime.datetime.strptime(one, "%b %d %H:%M:%S %Y GMT")
                  for one in re.findall(r"=(.*)", text))
    return (end - start).total_seconds()


@dataclass
class Issued:
    """What a workload has got."""

    key: bytes
    chain: list

    @property
    def certificate(self):
        """The workload's own, and what leads to a root, in PEM."""
        return "".join(self.chain[:-1]).encode()

    @property
    def roots(self):
        """What it is to trust."""
        return self.chain[-1].encode()


class Workload:
    """Somebody who calls the secured port."""

    def __init__(self, directory, port, roots, token=None, issued=None):
        self.directory = directory
        self.target = f"127.0.0.1:{port}"
        self.roots = roots
        self.token = token
        self.issued = issued

    def channel(self):
        """A connection with whatever certificate there is."""
        mine = self.issued and (self.issued.key, self.issued.certificate)
        return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(
            self.roots, *(mine or (None, None))))

    @property
    def metadata(self):
        """What every call says."""
        return [("authorization", f"Bearer {self.token}")] if self.token else []

    def ask(self, request=None, lasting=0, name=None, more=b""):
        """Asks for a certificate."""
        key = new_key()
        request = request or new_request(self.directory, key, name)
        with self.channel() as channel:
            answer = channel.unary_unary(METHOD)(
                field(1, request) + (field(3, lasting) if lasting else b"") + more,
                metadata=self.metadata, timeout=10)
        return Issued(key, [part.decode() for part in parse(answer)[1]])

    def refusal(self, **options):
        """The code with which it is refused, and the words."""
        try:
            self.ask(**options)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError("a certificate was issued")


def join_token(directory, who, *options):
    """Makes one beside whatever runs."""
    return subprocess.run(
        [control_binary(), "--mode", "token", "--ca-dir", str(directory), "--token-for", who,
         *options], check=True, capture_output=True, text=True).stdout.strip()


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs JSON web tokens with RS256."""

    def __init__(self, directory, name="https://issuer.example"):
        self.name = name
        self.key = directory / "issuer.key"
        self.key.write_bytes(openssl("genrsa", "2048"))
        self.keys = directory / "jwks.json"
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().split("=")[1]
        self.keys.write_text(json.dumps({"keys": [{
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "e": "AQAB",
            "n": _encode(bytes.fromhex(modulus.strip()))}]}))

    def token(self, expires, subject="system:serviceaccount:shop:cart", audience="istio-ca"):
        """A service account's token, as Kubernetes projects it."""
        head = _encode(json.dumps({"alg": "RS256", "kid": "1"}).encode())
        body = _encode(json.dumps({"iss": self.name, "aud": [audience], "sub": subject,
                                   "exp": int(expires)}).encode())
        signature = openssl("dgst", "-sha256", "-sign", self.key, data=f"{head}.{body}".encode())
        return f"{head}.{body}.{_encode(signature)}"
