"""Packs as a site chose to run them: whose signature it trusts, and its own recalibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inference import recalibration, signing
from inference.errors import PackRefused
from inference.packs import Discovery, Pack, Refusal
from workers.settings import BadSettings
from workers.site_file import PackChoice


def chosen(found: Discovery, choices: Mapping[str, PackChoice]) -> Discovery:
    """What was found, with what the site asks of its packs; those that do not meet it are refused.

    Raises:
        BadSettings: a key or a recalibration cannot be read.
    """
    packs, refusals = [], list(found.refusals)
    for pack in found.packs:
        try:
            packs.append(_as_asked(pack, choices.get(pack.manifest.id, PackChoice())))
        except PackRefused as error:
            refusals.append(Refusal(folder=pack.folder.name, reason=str(error)))
    return Discovery(packs=tuple(packs), refusals=tuple(refusals))


def _as_asked(pack: Pack, choice: PackChoice) -> Pack:
    if choice.signed_by is not None:
        signing.verify(pack, _read(choice.signed_by))
    precisions = {variant.precision for variant in pack.manifest.variants}
    if choice.precision is not None and choice.precision not in precisions:
        raise PackRefused(f"it has no variant in {choice.precision}")
    if choice.recalibration is None:
        return pack
    file = choice.recalibration
    raw = _read(file.path)
    signing.verify_bytes(raw, _read(file.signature), _read(file.signed_by), file.path.name)
    return recalibration.applied(pack, recalibration.parse(raw, file.path.name))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{path.name} cannot be read: {error.strerror}") from error
