"""A certificate authority of a test's own, and a server certificate that it has signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    ca: Path  # certificate of the authority that a client trusts
    certificate: Path  # certificate of 127.0.0.1
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """A new authority and a certificate for 127.0.0.1, made with `openssl`, good for a day."""
    folder.mkdir()
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    ca_key = folder / "ca.key"
    may_sign = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 insists on it
    _openssl("req", "-x509", *new_key, *may_sign, "-keyout", ca_key, "-out", made.ca, "-subj", "/CN=test authority")
    signer = ("-CA", made.ca, "-CAkey", ca_key, "-addext", "subjectAltName=IP:127.0.0.1")
    not_a_ca = ("-addext", "basicConstraints=critical,CA:FALSE")
    _openssl(
        *("req", "-x509", *new_key, *signer, *not_a_ca),
        *("-keyout", made.key, "-out", made.certificate, "-subj", "/CN=127.0.0.1"),
    )
    return made


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
