"""The doors of a site file: `[[mllp]]`, `[[stow]]` and `[fhir]`, with how each sender is read."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interop.mllp import MllpInterface
from interop.stow import StowPath
from interop.tls import TlsFiles
from mappings.site import Site
from workers.settings import LAST_PORT, BadSettings
from workers.site_table import Table

# Senders give an answer up after half a minute to a minute, and send again.
_LONGEST_WAIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Every door, and how its words are read; what each is stands in `site_file.SiteFile`."""

    senders: Mapping[str, Site]
    mllp: tuple[MllpInterface, ...]
    answers: Mapping[str, tuple[str, int]]
    stow: Mapping[str, StowPath]
    fhir: str

    @classmethod
    def of(cls, top: Table, base: Site) -> Doors:
        """Read them.

        Raises:
            BadSettings: A key is of another kind, out of its bounds, or a name is of two doors.
        """
        senders: dict[str, Site] = {}
        answers: dict[str, tuple[str, int]] = {}
        mllp = tuple(_mllp(t, base, senders, answers) for t in top.tables("mllp"))
        stow: dict[str, StowPath] = {}
        for table in top.tables("stow"):
            path, made = _stow(table, base, senders)
            if path in stow:
                raise BadSettings(f"stow: the path {path!r} is given twice")
            stow[path] = made
        fhir = top.table("fhir")
        name = fhir.take("name", str, "fhir")
        _put(senders, name, _sender(fhir, base))
        fhir.close()
        return cls(senders=senders, mllp=mllp, answers=answers, stow=stow, fhir=name)


def zone(name: str) -> str:
    """The name of a time zone.

    Raises:
        BadSettings: It is none.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSettings(f"timezone {name} is not known") from error
    return name


def _put(senders: dict[str, Site], name: str, sender: Site) -> None:
    # One would be read with the other's zone and code maps, and share its control ids.
    if name in senders:
        raise BadSettings(f"two doors have the name {name}")
    senders[name] = sender


def _sender(table: Table, base: Site) -> Site:
    charset = table.take("charset", str, None)
    if charset is not None and not _is_codec(charset):
        raise BadSettings(f"charset {charset} is no Python codec of text")
    types = table.table("identifier_types").strings()
    return replace(
        base,
        default_authority=table.take("default_authority", str, base.default_authority),
        identifier_types={**base.identifier_types, **types},
        filler_authority=table.take("filler_authority", str, None),
        timezone=zone(table.take("timezone", str, base.timezone)),
        charset=charset,
        sub_id_is_sequence=table.take("sub_id_is_sequence", bool, False),
        rank=table.take("rank", int, 0),
    )


def _is_codec(name: str) -> bool:
    try:
        return isinstance(codecs.decode(b"MSH", name), str)
    except (LookupError, ValueError):
        return False


def _mllp(
    table: Table, base: Site, senders: dict[str, Site], answers: dict[str, tuple[str, int]]
) -> MllpInterface:
    name = table.take("name", str)
    _put(senders, name, _sender(table, base))
    if (path := table.take("answers", str, None)) is not None:
        answers[name] = _place(path)
    wait_s = table.number("wait_s", 0, high=_LONGEST_WAIT_S)
    if wait_s and name in answers:
        raise BadSettings("mllp: wait_s is for original mode, answers for enhanced: name one")
    defaults = MllpInterface(name=name)
    reused = table.take("reused", str, defaults.reused)
    if reused not in ("accept", "refuse"):
        raise BadSettings("mllp: reused is accept or refuse")
    taken = table.texts("senders")
    made = MllpInterface(
        name=name,
        processing_ids=frozenset(table.texts("processing_ids", ["P"]) or ()),
        cap=table.count("cap_mb", 10) * 1024 * 1024,
        peers=tuple(_network(text) for text in table.texts("peers") or ()),
        senders=None if taken is None else frozenset(taken),
        wait_s=wait_s,
        reused=cast("Literal['accept', 'refuse']", reused),
        tls=_tls(table),
        origin=_origin(table),
        most_connections=table.count("most_connections", defaults.most_connections),
        most_per_peer=table.count("most_per_peer", defaults.most_per_peer),
        in_flight=table.count("in_flight", defaults.in_flight),
        first_byte_s=table.number("first_byte_s", defaults.first_byte_s),
        inter_byte_s=table.number("inter_byte_s", defaults.inter_byte_s, low=0.01),
        frame_s=table.number("frame_s", defaults.frame_s, low=0.01),
    )
    table.close()
    return made


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= LAST_PORT:
        raise BadSettings("mllp: answers is host:port")
    return host, int(port)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise BadSettings(f"mllp: peers: {text} is no network") from error


def _tls(interface: Table) -> TlsFiles | None:
    if not (table := interface.table("tls")).left:
        return None
    client_ca = table.take("client_ca", str, None)
    senders = table.table("senders")
    made = TlsFiles(
        certificate=Path(table.take("certificate", str)),
        key=Path(table.take("key", str)),
        client_ca=Path(client_ca) if client_ca else None,
        senders={name: frozenset(senders.texts(name) or ()) for name in list(senders.left)},
    )
    if made.senders and made.client_ca is None:
        raise BadSettings("mllp: tls.senders needs tls.client_ca")
    table.close()
    return made


def _stow(table: Table, base: Site, senders: dict[str, Site]) -> tuple[str, StowPath]:
    path = table.take("path", str, "")
    name = table.take("name", str)
    _put(senders, name, _sender(table, base))
    made = StowPath(
        name=name,
        origin=_origin(table),
        silence_s=table.number("silence_s", 20.0),
    )
    table.close()
    return path, made


def _origin(table: Table) -> str:
    origin: str = table.take("origin", str, "live")
    if origin not in ("live", "history"):
        raise BadSettings("origin is live or history")
    return origin
