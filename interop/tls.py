"""TLS of a listener: certificate, client certificates, and which senders a certificate speaks for.

Source: IHE ITI TF-2 3.19 (authenticate node), BCP 195 (RFC 9325): TLS 1.2 and newer.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.errors import Refused

Senders = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """TLS as the site file describes it.

    Attributes:
        certificate: Chain in PEM.
        key: Private key in PEM.
        client_ca: CAs whose client certificates are taken; None asks for none.
        senders: Name in a client certificate (SAN dNSName, URI or IP, or CN) to the `MSH-3|MSH-4`
            that it speaks for. Empty: any certificate of the CAs speaks for all.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    senders: Mapping[str, Senders] = field(default_factory=dict)

    def context(self) -> ssl.SSLContext:
        """A server's context.

        Raises:
            Refused: A file is not there or not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise Refused(f"TLS files: {type(error).__name__}", 0) from error
        return context

    def speaks_for(self, certificate: Mapping[str, Any] | None) -> Senders | None:
        """Senders a client certificate speaks for; None for all of them."""
        if not self.senders:
            return None
        found = [self.senders[name] for name in _names(certificate or {}) if name in self.senders]
        return frozenset().union(*found)


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Names as `ssl.SSLSocket.getpeercert` gives them."""
    for _kind, name in certificate.get("subjectAltName", ()):
        yield name
    for group in certificate.get("subject", ()):
        for key, value in group:
            if key == "commonName":
                yield value
