"""Certificates made for one test, with the openssl program."""

import pathlib
import subprocess
from dataclasses import dataclass


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass
class Identity:
    """A certificate and its key, as files."""

    certificate: pathlib.Path
    key: pathlib.Path

    def common(self, **extra):
        """A `common_tls_context` that presents it."""
        return {"tls_certificates": [{
            "certificate_chain": {"filename": str(self.certificate)},
            "private_key": {"filename": str(self.key)}}], **extra}


class Authority:
    """Signs what a test needs; everything lies in one directory."""

    def __init__(self, directory, name="test authority"):
        self.directory = pathlib.Path(directory)
        stem = name.replace(" ", "-")
        self.certificate = self.directory / f"{stem}.pem"
        self.key = self.directory / f"{stem}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "30",
                 "-subj", f"/CN={name}")

    def issue(self, name, sans="", file=None):
        """A leaf; `sans` as OpenSSL writes them: `DNS:a.example,URI:spiffe://mesh/a`."""
        stem = self.directory / (file or name)
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        identity = Identity(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", identity.key, "-out", request, "-subj", f"/O=acme/CN={name}")
        extensions.write_text(f"subjectAltName={sans}\n" if sans else "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                 "-CAcreateserial", "-out", identity.certificate, "-days", "30",
                 "-extfile", extensions)
        return identity

    @property
    def trust(self):
        """A validation context that believes this authority."""
        return {"trusted_ca": {"filename": str(self.certificate)}}
