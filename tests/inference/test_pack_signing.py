"""signing: who released a pack, and that nothing of it changed since."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from inference import packs, signing
from inference.errors import PackRefused

SHIPPED = Path(packs.__file__).parent / "packs" / "liver_dx"


def pems(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """A key pair as PKCS #8 and SubjectPublicKeyInfo."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    spki = PublicFormat.SubjectPublicKeyInfo
    return private, key.public_key().public_bytes(Encoding.PEM, spki)


PRIVATE, PUBLIC = pems(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_PRIVATE, OTHER_PUBLIC = pems(Ed25519PrivateKey.from_private_bytes(bytes(32)))
EC_PRIVATE, EC_PUBLIC = pems(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed copy of the shipped pack."""
    made = Path(shutil.copytree(SHIPPED, tmp_path / "liver_dx"))
    (made / "pack.sig").write_bytes(signing.sign(packs.load(made).raw, PRIVATE))
    return made


def test_a_signature_holds_for_its_key_and_leaves_the_digest_alone(folder: Path) -> None:
    """The signed pack is the same pack."""
    pack = packs.load(folder)
    signing.verify(pack, PUBLIC)
    assert packs.load(SHIPPED).digest == pack.digest
    assert "pack.sig" not in pack.contents


def test_another_key_is_refused(folder: Path) -> None:
    """Whoever signs must be the one who was named."""
    with pytest.raises(PackRefused, match="not of this key"):
        signing.verify(packs.load(folder), OTHER_PUBLIC)


def test_a_manifest_edited_after_signing_is_refused(folder: Path) -> None:
    """The threshold moves, every digest still fits, the signature does not."""
    file = folder / "pack.toml"
    before = file.read_text()
    file.write_text(before.replace('version = "0.1.0"', 'version = "0.1.1"', 1))
    assert before != file.read_text()
    with pytest.raises(PackRefused, match=r"not of this key and pack\.toml"):
        signing.verify(packs.load(folder), PUBLIC)


def test_a_graph_changed_after_signing_is_refused(folder: Path) -> None:
    """What the signed manifest lists covers every other file."""
    raw = bytearray((folder / "fusion.onnx").read_bytes())
    raw[-1] ^= 1
    (folder / "fusion.onnx").write_bytes(raw)
    with pytest.raises(PackRefused, match=r"fusion.onnx does not have the listed SHA-256"):
        packs.load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"no base64!", base64.b64encode(bytes(64)), base64.b64encode(bytes(63)), b"\xff"],
)
def test_what_is_no_signature_is_refused(folder: Path, content: bytes) -> None:
    """Empty, not base64, of another length, or of nobody."""
    (folder / "pack.sig").write_bytes(content)
    with pytest.raises(PackRefused, match="not of this key"):
        signing.verify(packs.load(folder), PUBLIC)


def test_a_pack_without_signature_is_refused() -> None:
    """Unsigned is not verified."""
    with pytest.raises(PackRefused, match=r"pack.sig is missing"):
        signing.verify(packs.load(SHIPPED), PUBLIC)


def test_keys_of_another_kind_are_refused(folder: Path) -> None:
    """Only Ed25519, and each half in its place."""
    pack = packs.load(folder)
    for key in (b"", PUBLIC, EC_PRIVATE):
        with pytest.raises(PackRefused, match="private key"):
            signing.sign(pack.raw, key)
    for key in (b"", PRIVATE, EC_PUBLIC):
        with pytest.raises(PackRefused, match="public key"):
            signing.verify(pack, key)
