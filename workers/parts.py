"""Parts: everything a process needs, built once from settings. The only place of construction."""

from __future__ import annotations

import secrets
import sqlite3
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from inference import protocol_reading
from inference.packs import Discovery, Pack, discover
from inference.protocol import Protocol
from interop.blobs import BlobStore
from interop.ehr import Carrier, Endpoint, FhirEhr
from interop.errors import LedgerUnavailable
from interop.ledger.engine import WRITERS, Ids, open_ledger
from interop.migrations import upgrade
from mappings.outbound.result import Model, device_id
from workers.chosen import chosen
from workers.settings import LAST_PORT, BadSettings, Settings
from workers.site_file import EhrTarget, OruTarget, PacsSource, SiteFile, read

if TYPE_CHECKING:
    from interop.pacs import Pacs

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The only place where the system clock is read for anything that is stored."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One process's parts.

    Attributes:
        discovery: Packs that load, and those refused with their reason.
        carrier: Where results go, or None: the site stays silent.
    """

    settings: Settings
    site: SiteFile
    engine: Engine
    ids: Ids
    blobs: BlobStore
    discovery: Discovery
    carrier: Carrier | None
    now: Clock

    @property
    def packs(self) -> tuple[Pack, ...]:
        """Packs that the site runs and that are sound."""
        return tuple(p for p in self.discovery.packs if p.manifest.id in self.site.packs)

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Whose readiness is kept: of the packs, and of what the site names without a model."""
        packs = {pack.manifest.id: pack.manifest for pack in self.packs}
        untrained = protocol_reading.shipped()
        return tuple(
            packs.get(name) or untrained[name]
            for name in self.site.packs
            if name in packs or name in untrained
        )

    def pack(self, name: str) -> Pack | None:
        """A pack that the site runs, or None."""
        return next((p for p in self.packs if p.manifest.id == name), None)

    def model(self, pack: Pack) -> Model:
        """A pack as the Device that our results name."""
        m = pack.manifest
        return Model(
            id=m.id,
            name=m.title,
            version=m.version,
            digest=pack.digest,
            manufacturer=self.site.organization,
            intended_use=m.intended_use,
            study=m.study,
            synthetic=m.training_data.kind == "synthetic",
            service_version=version("oncord"),
        )

    @property
    def own_devices(self) -> frozenset[str]:
        """Literal references of our models, for recognising what they wrote (site rule 1)."""
        return frozenset(f"Device/{device_id(self.model(pack))}" for pack in self.discovery.packs)

    def close(self) -> None:
        """Give database and network connections back."""
        self.engine.dispose()
        if self.carrier is not None:
            self.carrier.close()

    def id(self) -> int:
        """A fresh ledger id."""
        return self.ids.next(int(self.now().timestamp() * 1000))

    def findings(self) -> list[str]:
        """What keeps this process from doing all it was told to do."""
        missing = [
            f"pack {name} is not there"
            for name in self.site.packs
            if self.pack(name) is None
            and name not in protocol_reading.shipped()
            and not any(r.folder == name for r in self.discovery.refusals)
        ]
        refused = [f"pack {r.folder} is refused: {r.reason}" for r in self.discovery.refusals]
        today = self.now().date()
        expired = [
            f"pack {p.manifest.id} expired on {p.manifest.release.expires}"
            for p in self.packs
            if p.manifest.release.expired(today)
        ]
        return missing + refused + expired


def build(settings: Settings, *, now: Clock = utc_now, migrate: bool = False) -> Parts:
    """Build a process's parts.

    Args:
        settings: Where things are.
        now: The clock.
        migrate: Bring the schema up to date first; only the service process does.

    Raises:
        BadSettings: Settings or site file cannot be used.
        LedgerUnavailable: The database cannot be opened.
    """
    site = read(settings.site_file)
    if settings.mllp_port and settings.mllp_port + len(site.mllp) - 1 > LAST_PORT:
        raise BadSettings(f"ONCORD_MLLP_PORT: {len(site.mllp)} interfaces end beyond {LAST_PORT}")
    engine = open_database(settings.database_url, migrate=migrate)
    writer = settings.writer if settings.writer is not None else secrets.randbelow(WRITERS)
    return Parts(
        settings=settings,
        site=site,
        engine=engine,
        ids=Ids(writer),
        blobs=BlobStore(settings.data_dir / "blobs"),
        discovery=chosen(discover(settings.pack_folders), site.packs),
        carrier=_carrier(site, now),
        now=now,
    )


def open_database(url: str, *, migrate: bool) -> Engine:
    """The ledger of a URL, its schema brought up to date where that is asked.

    Raises:
        BadSettings: It is no URL of a database that we speak to.
        LedgerUnavailable: The database cannot be opened, or is none.
    """
    try:
        engine = open_ledger(url)
        if migrate:
            upgrade(engine)
    except (ArgumentError, ImportError) as error:
        raise BadSettings(
            "ONCORD_DATABASE_URL is sqlite:///FILE or postgresql+psycopg://…"
        ) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"database: {type(error).__name__} while opening it") from error
    return engine


def _carrier(site: SiteFile, now: Clock) -> Carrier | None:
    if site.ehr is not None:
        return _fhir(site.ehr)
    return _oru(site.oru, now) if site.oru is not None else None


def _oru(target: OruTarget, now: Clock) -> Carrier:
    from interop.hl7_ehr import Hl7Ehr  # noqa: PLC0415  the PDF library: only where it is needed
    from interop.mllp_client import MllpClient  # noqa: PLC0415

    tls = None
    if target.ca is not None:
        tls = ssl.create_default_context(cafile=str(target.ca))
        if target.certificate is not None:
            tls.load_cert_chain(target.certificate, target.key)
    client = MllpClient(target.host, target.port, timeout_s=target.timeout_s, tls=tls)
    return Hl7Ehr(target.receiver, client, now=now)


def _fhir(target: EhrTarget) -> FhirEhr:
    token = _token_reader(target.token_file) if target.token_file else None
    endpoint = Endpoint(
        base_url=target.base_url,
        strategy=target.strategy,
        patient_systems=target.patient_systems,
        token=token,
        timeout_s=target.timeout_s,
    )
    # trust_env off: a proxy variable must not redirect patient data.
    return FhirEhr(endpoint, httpx.Client(follow_redirects=False, trust_env=False))


def pacs_of(target: PacsSource) -> Pacs:
    """The PACS of a site; opened by the command that pulls, not by every process."""
    from interop.pacs import Pacs, PacsEndpoint  # noqa: PLC0415  pydicom: 0.3 s at every start

    endpoint = PacsEndpoint(
        base_url=target.base_url,
        token=_token_reader(target.token_file) if target.token_file else None,
        timeout_s=target.timeout_s,
        study_s=target.study_s,
    )
    return Pacs(endpoint, httpx.Client(follow_redirects=False, trust_env=False))


def _token_reader(path: Path) -> Callable[[], str]:
    if not path.is_file():
        raise BadSettings(f"token_file {path.name} is not there")
    return lambda: path.read_text("utf-8").strip()
