"""Detached signatures of packs: Ed25519 over the bytes of pack.toml, which lists every digest.

A signature says who released these bytes, not that they are good. Source: model-rules 26;
RFC 8032.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from inference.errors import PackRefused
from inference.manifest import MANIFEST, SIGNATURE
from inference.packs import Pack


def sign(raw: bytes, private_key: bytes) -> bytes:
    """A detached signature: 64 bytes as one line of base64.

    Args:
        raw: Of a pack.toml, or of a site's recalibration.
        private_key: Ed25519, PKCS #8 in PEM without a password.

    Raises:
        PackRefused: the key is none.
    """
    try:
        key = load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError) as error:
        raise PackRefused("the key is no PEM private key without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PackRefused("the key is no Ed25519 private key")
    return base64.b64encode(key.sign(raw)) + b"\n"


def verify(pack: Pack, public_key: bytes) -> None:
    """Compare a pack's signature with its pack.toml.

    Args:
        pack: Verified against its own digests.
        public_key: Ed25519, SubjectPublicKeyInfo in PEM.

    Raises:
        PackRefused: the key is none, there is no signature, or it is not of this key and pack.
    """
    if pack.signature is None:
        raise PackRefused(f"{SIGNATURE} is missing")
    verify_bytes(pack.raw, pack.signature, public_key, MANIFEST)


def verify_bytes(raw: bytes, signature: bytes, public_key: bytes, name: str) -> None:
    """Compare a detached signature with the bytes of a file.

    Raises:
        PackRefused: the key is none, or the signature is not of this key and these bytes.
    """
    try:
        key = load_pem_public_key(public_key)
    except ValueError as error:
        raise PackRefused("the key is no PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise PackRefused("the key is no Ed25519 public key")
    try:
        key.verify(base64.b64decode(signature.removesuffix(b"\n"), validate=True), raw)
    except (InvalidSignature, binascii.Error) as error:
        raise PackRefused(f"the signature is not of this key and {name}") from error
