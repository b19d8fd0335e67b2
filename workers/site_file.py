"""The site file: who sends, what their words mean, which packs run, where results go.

TOML, validated as a whole before anything starts. Every key is documented in
docs/reference/site-file.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from inference.manifest import Precision
from interop.mllp import MllpInterface
from interop.stow import StowPath
from interop.tls import TlsFiles
from mappings.outbound.receiver import Receiver
from mappings.outbound.terms import OWN_SYSTEMS
from mappings.site import Site
from workers.codes import Senders
from workers.settings import BadSettings
from workers.site_table import Table

# Senders give an answer up after half a minute to a minute, and send again.
_LONGEST_WAIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibrationFile:
    """A site's own recalibration of a pack, and who must have signed it."""

    path: Path
    signed_by: Path

    @property
    def signature(self) -> Path:
        """Where its signature lies."""
        return self.path.with_name(f"{self.path.name}.sig")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackChoice:
    """How a pack runs at this site: silent until write-back is switched on (site rule 3).

    Attributes:
        signed_by: Public key without whose signature the pack is refused, or None.
        precision: Of the pack's variants, or None for the graphs as they are.
    """

    write_back: bool = False
    min_interval_h: float = 0.0
    signed_by: Path | None = None
    precision: Precision | None = None
    recalibration: RecalibrationFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrTarget:
    """The EHR results go to."""

    base_url: str
    strategy: Literal["put", "post"] | None = None
    patient_systems: Mapping[str, str] = field(default_factory=dict)
    token_file: Path | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OruTarget:
    """The receiver of results as ORU^R01, for an EHR without FHIR writes."""

    host: str
    port: int
    receiver: Receiver
    timeout_s: float = 30.0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PacsSource:
    """The PACS studies are pulled from, and the STOW path by which they enter."""

    base_url: str
    path: str = ""
    token_file: Path | None = None
    timeout_s: float = 30.0
    study_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """One site.

    Attributes:
        senders: How each interface's words are read, by interface name.
        mllp: MLLP interfaces, in port order.
        answers: Where application acknowledgements of an interface go: host and port.
        stow: STOW paths by the name in their URL; the empty name is `/dicomweb`.
        fhir: Name of the FHIR door's interface.
        packs: Packs that run here.
        ehr: Where results go, or None.
        oru: Where results go by HL7 v2 instead, or None.
        pacs: Where studies are pulled from, or None.
        namespace: Base URI of our identifier systems.
        organization: Who runs the service, for DiagnosticReport.performer.
        scale: How RiskAssessment probabilities are written here.
        applications: Our names in MSH-3 and OBR-3, for recognising echoes.
    """

    name: str
    senders: Senders
    mllp: tuple[MllpInterface, ...]
    answers: Mapping[str, tuple[str, int]]
    stow: Mapping[str, StowPath]
    fhir: str
    packs: Mapping[str, PackChoice]
    ehr: EhrTarget | None
    oru: OruTarget | None
    pacs: PacsSource | None
    namespace: str
    organization: str
    scale: Literal["percent", "fraction"]
    applications: frozenset[str]

    def sender(self, interface: str) -> Site:
        """How an interface's words are read."""
        return self.senders[interface]

    @property
    def own_systems(self) -> frozenset[str]:
        """Systems of our identifiers, codes and tags: whatever carries one, we wrote."""
        return frozenset(f"{self.namespace}/{name}" for name in OWN_SYSTEMS)


def read(path: Path) -> SiteFile:
    """Read and check a site file.

    Raises:
        BadSettings: It cannot be read, or a key is missing, unknown or of another kind.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadSettings(f"site file {path.name} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"site file {path.name}: {error}") from error
    table = Table(found, path.name)
    made = _site(table, path.parent)
    table.close()
    return made


def _site(top: Table, beside: Path) -> SiteFile:
    site = top.table("site")
    name = site.take("name", str)
    zone = site.take("timezone", str)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSettings(f"timezone {zone} is not known") from error
    base = Site(
        name=name,
        authorities=_authorities(top.table("authorities")),
        default_authority=site.take("default_authority", str, None),
        timezone=zone,
    )
    namespace = site.take("namespace", str).rstrip("/")
    organization = site.take("organization", str)
    scale = site.take("probability_scale", str, "percent")
    if scale not in ("percent", "fraction"):
        raise BadSettings("probability_scale is percent or fraction")
    applications = frozenset(site.take("applications", list, ["ONCORD"]))
    site.close()
    senders: dict[str, Site] = {}
    answers: dict[str, tuple[str, int]] = {}
    mllp = tuple(_mllp(t, base, senders, answers) for t in top.tables("mllp"))
    stow = dict(_stow(t, base, senders) for t in top.tables("stow"))
    fhir = top.table("fhir")
    fhir_name = fhir.take("name", str, "fhir")
    senders[fhir_name] = _sender(fhir, base)
    fhir.close()
    ehr = _ehr(top)
    if ehr is not None and "oru" in top:
        raise BadSettings("a site has [ehr] or [oru]: results go one way")
    return SiteFile(
        name=name,
        senders=Senders(senders, beside / "codes"),
        mllp=mllp,
        answers=answers,
        stow=stow,
        fhir=fhir_name,
        packs={pack: _pack(t, beside) for pack, t in top.table("packs").children()},
        ehr=ehr,
        oru=_oru(top, min(applications, default="ONCORD")),
        pacs=_pacs(top, stow),
        namespace=namespace,
        organization=organization,
        scale=cast("Literal['percent', 'fraction']", scale),
        applications=applications,
    )


def _authorities(table: Table) -> dict[str, str]:
    """`"canonical" = ["NAME", "1.2.3"]` turned round: every name to its canonical URI."""
    found: dict[str, str] = {}
    for canonical in list(table.left):
        for name in (canonical, *table.take(canonical, list)):
            if not isinstance(name, str):
                raise BadSettings("authorities: names are strings")
            if found.setdefault(name, canonical) != canonical:
                raise BadSettings(f"authorities: {name} stands for two systems")
    return found


def _sender(table: Table, base: Site) -> Site:
    return replace(
        base,
        default_authority=table.take("default_authority", str, base.default_authority),
        filler_authority=table.take("filler_authority", str, None),
        timezone=table.take("timezone", str, base.timezone),
        charset=table.take("charset", str, None),
        sub_id_is_sequence=table.take("sub_id_is_sequence", bool, False),
        rank=table.take("rank", int, 0),
    )


def _mllp(
    table: Table, base: Site, senders: dict[str, Site], answers: dict[str, tuple[str, int]]
) -> MllpInterface:
    name = table.take("name", str)
    if (path := table.take("answers", str, None)) is not None:
        host, _, port = path.rpartition(":")
        if not host or not port.isdigit():
            raise BadSettings("mllp: answers is host:port")
        answers[name] = (host, int(port))
    wait_s = float(table.take("wait_s", (int, float), 0))
    if not 0 <= wait_s <= _LONGEST_WAIT_S:
        raise BadSettings(f"mllp: wait_s is 0 to {_LONGEST_WAIT_S} seconds")
    if wait_s and name in answers:
        raise BadSettings("mllp: wait_s is for original mode, answers for enhanced: name one")
    senders[name] = _sender(table, base)
    defaults = MllpInterface(name=name)
    reused = table.take("reused", str, defaults.reused)
    if reused not in ("accept", "refuse"):
        raise BadSettings("mllp: reused is accept or refuse")
    senders_taken = table.take("senders", list, None)
    made = MllpInterface(
        name=name,
        processing_ids=frozenset(table.take("processing_ids", list, ["P"])),
        cap=table.take("cap_mb", int, 10) * 1024 * 1024,
        peers=tuple(_network(text) for text in table.take("peers", list, [])),
        senders=None if senders_taken is None else frozenset(senders_taken),
        wait_s=wait_s,
        reused=cast("Literal['accept', 'refuse']", reused),
        tls=_tls(table),
        origin=_origin(table),
        most_connections=table.take("most_connections", int, defaults.most_connections),
        most_per_peer=table.take("most_per_peer", int, defaults.most_per_peer),
        in_flight=table.take("in_flight", int, defaults.in_flight),
        first_byte_s=float(table.take("first_byte_s", (int, float), defaults.first_byte_s)),
        inter_byte_s=float(table.take("inter_byte_s", (int, float), defaults.inter_byte_s)),
        frame_s=float(table.take("frame_s", (int, float), defaults.frame_s)),
    )
    table.close()
    return made


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
        senders={name: frozenset(senders.take(name, list)) for name in list(senders.left)},
    )
    if made.senders and made.client_ca is None:
        raise BadSettings("mllp: tls.senders needs tls.client_ca")
    table.close()
    return made


def _stow(table: Table, base: Site, senders: dict[str, Site]) -> tuple[str, StowPath]:
    path = table.take("path", str, "")
    name = table.take("name", str)
    senders[name] = _sender(table, base)
    made = StowPath(
        name=name,
        origin=_origin(table),
        silence_s=float(table.take("silence_s", (int, float), 20.0)),
    )
    table.close()
    return path, made


def _origin(table: Table) -> str:
    origin: str = table.take("origin", str, "live")
    if origin not in ("live", "history"):
        raise BadSettings("origin is live or history")
    return origin


def _pack(table: Table, beside: Path) -> PackChoice:
    signed_by = table.take("signed_by", str, None)
    precision = table.take("precision", str, None)
    if precision not in (None, *get_args(Precision)):
        raise BadSettings(f"packs: precision is one of {', '.join(get_args(Precision))}")
    own = table.table("recalibration")
    made = PackChoice(
        write_back=table.take("write_back", bool, False),
        min_interval_h=float(table.take("min_interval_h", (int, float), 0)),
        signed_by=beside / signed_by if signed_by else None,
        precision=cast("Precision | None", precision),
        recalibration=_recalibration(own, beside) if own.left else None,
    )
    table.close()
    return made


def _recalibration(table: Table, beside: Path) -> RecalibrationFile:
    made = RecalibrationFile(
        path=beside / table.take("file", str), signed_by=beside / table.take("signed_by", str)
    )
    table.close()
    return made


def _ehr(top: Table) -> EhrTarget | None:
    if not (table := top.table("ehr")).left:
        return None
    strategy = table.take("strategy", str, None)
    if strategy not in (None, "put", "post"):
        raise BadSettings("ehr: strategy is put or post")
    token_file = table.take("token_file", str, None)
    made = EhrTarget(
        base_url=table.take("base_url", str).rstrip("/"),
        strategy=strategy,
        patient_systems=table.table("patient_systems").strings(),
        token_file=Path(token_file) if token_file else None,
        timeout_s=float(table.take("timeout_s", (int, float), 30)),
    )
    table.close()
    return made


def _oru(top: Table, sender: str) -> OruTarget | None:
    if not (table := top.table("oru")).left:
        return None
    document = table.take("document", str, "pdf")
    if document not in ("pdf", "html", "none"):
        raise BadSettings("oru: document is pdf, html or none")
    usual = Receiver(application="", facility="")
    receiver = Receiver(
        application=table.take("application", str),
        facility=table.take("facility", str),
        sender=table.take("sender", str, sender),
        version=table.take("version", str, usual.version),
        document=cast("Literal['pdf', 'html', 'none']", document),
        layout=table.take("layout", str, usual.layout),
    )
    files = {name: table.take(name, str, None) for name in ("ca", "certificate", "key")}
    made = OruTarget(
        host=table.take("host", str),
        port=table.take("port", int),
        receiver=receiver,
        timeout_s=float(table.take("timeout_s", (int, float), 30)),
        **{name: Path(file) if file else None for name, file in files.items()},
    )
    table.close()
    return made


def _pacs(top: Table, stow: Mapping[str, StowPath]) -> PacsSource | None:
    if not (table := top.table("pacs")).left:
        return None
    token_file = table.take("token_file", str, None)
    made = PacsSource(
        base_url=table.take("base_url", str).rstrip("/"),
        path=table.take("path", str, ""),
        token_file=Path(token_file) if token_file else None,
        timeout_s=float(table.take("timeout_s", (int, float), 30)),
        study_s=float(table.take("study_s", (int, float), 1800)),
    )
    if made.path not in stow:
        raise BadSettings("pacs: path names no [[stow]] path")
    table.close()
    return made
