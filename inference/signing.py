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
from inference.packs import SIGNATURE, Pack


def sign(pack: Pack, private_key: bytes) -> bytes:
    """The content of pack.sig: 64 bytes as one line of base64.

    Args:
        pack: Verified.
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
    return base64.b64encode(key.sign(pack.raw)) + b"\n"


def verify(pack: Pack, public_key: bytes) -> None:
    """Compare a pack's signature with its pack.toml.

    Args:
        pack: Verified against its own digests.
        public_key: Ed25519, SubjectPublicKeyInfo in PEM.

    Raises:
        PackRefused: the key is none, there is no signature, or it is not of this key and pack.
    """
    try:
        key = load_pem_public_key(public_key)
    except ValueError as error:
        raise PackRefused("the key is no PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise PackRefused("the key is no Ed25519 public key")
    if pack.signature is None:
        raise PackRefused(f"{SIGNATURE} is missing")
    try:
        key.verify(base64.b64decode(pack.signature.removesuffix(b"\n"), validate=True), pack.raw)
    except (InvalidSignature, binascii.Error) as error:
        raise PackRefused(f"{SIGNATURE} is not of this key and pack.toml") from error
