"""The site file: who sends, what their words mean, which packs run, where results go.

TOML, validated as a whole before anything starts. Every key is documented in
docs/reference/site-file.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from inference.manifest import Precision
from interop.mllp import MllpInterface
from interop.stow import StowPath
from mappings.outbound.receiver import Receiver
from mappings.outbound.terms import OWN_SYSTEMS
from mappings.site import Site
from workers.codes import Senders
from workers.settings import LAST_PORT, BadSettings
from workers.site_doors import Doors, zone
from workers.site_table import Table


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
    except UnicodeDecodeError as error:
        raise BadSettings(f"site file {path.name} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"site file {path.name}: {error}") from error
    table = Table(found, path.name)
    made = _site(table, path.parent)
    table.close()
    return made


def _site(top: Table, beside: Path) -> SiteFile:
    site = top.table("site")
    name = site.take("name", str)
    base = Site(
        name=name,
        authorities=_authorities(top.table("authorities")),
        default_authority=site.take("default_authority", str, None),
        identifier_types=top.table("identifier_types").strings(),
        timezone=zone(site.take("timezone", str)),
    )
    namespace = site.take("namespace", str).rstrip("/")
    organization = site.take("organization", str)
    scale = site.take("probability_scale", str, "percent")
    if scale not in ("percent", "fraction"):
        raise BadSettings("probability_scale is percent or fraction")
    applications = frozenset(site.texts("applications", ["ONCORD"]) or ())
    site.close()
    doors = Doors.of(top, base)
    ehr = _ehr(top)
    if ehr is not None and "oru" in top:
        raise BadSettings("a site has [ehr] or [oru]: results go one way")
    return SiteFile(
        name=name,
        senders=Senders(doors.senders, beside / "codes"),
        mllp=doors.mllp,
        answers=doors.answers,
        stow=doors.stow,
        fhir=doors.fhir,
        packs={pack: _pack(t, beside) for pack, t in top.table("packs").children()},
        ehr=ehr,
        oru=_oru(top, min(applications, default="ONCORD")),
        pacs=_pacs(top, doors.stow),
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


def _pack(table: Table, beside: Path) -> PackChoice:
    signed_by = table.take("signed_by", str, None)
    precision = table.take("precision", str, None)
    if precision not in (None, *get_args(Precision)):
        raise BadSettings(f"packs: precision is one of {', '.join(get_args(Precision))}")
    own = table.table("recalibration")
    made = PackChoice(
        write_back=table.take("write_back", bool, False),
        min_interval_h=table.number("min_interval_h", 0),
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
        timeout_s=table.number("timeout_s", 30, low=0.01),
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
        port=table.count("port", high=LAST_PORT),
        receiver=receiver,
        timeout_s=table.number("timeout_s", 30, low=0.01),
        **{name: Path(file) if file else None for name, file in files.items()},
    )
    if made.ca is None and (made.certificate or made.key):
        raise BadSettings("oru: without ca there is no TLS, and certificate and key are for it")
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
        timeout_s=table.number("timeout_s", 30, low=0.01),
        study_s=table.number("study_s", 1800, low=0.01),
    )
    if made.path not in stow:
        raise BadSettings("pacs: path names no [[stow]] path")
    table.close()
    return made
