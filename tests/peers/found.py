"""Which real peers this machine has, and how each is told from its absence.

Source of the recipes: the peers' own manuals; package names are Debian 12's.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ORTHANC_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_POSTGRESQL = Path("/usr/lib/postgresql")

# What each peer needs, as a program or a file, and the package that has it.
_NEEDS: dict[str, tuple[tuple[str | Path, str], ...]] = {
    "postgresql": ((_POSTGRESQL, "postgresql"),),
    "rabbitmq": ((RABBITMQ, "rabbitmq-server"),),
    "redis": (("redis-server", "redis-server"),),
    "orthanc": (("Orthanc", "orthanc"), (ORTHANC_DICOMWEB, "orthanc-dicomweb")),
    "dcmtk": (("storescu", "dcmtk"),),
    "dicom3tools": (("dciodvfy", "dicom3tools"),),
    "node": (("node", "nodejs"), ("npm", "npm")),
    "strace": (("strace", "strace"),),
    "curl": (("curl", "curl"),),
    "chromium": (("chromium", "chromium"),),
    "docker-compose": (("docker-compose", "docker-compose"),),
}
PEERS = tuple(_NEEDS)
_INSTALLED = Path(__file__).parent / "node" / "node_modules" / "fhir"


@cache
def missing(peer: str) -> str:
    """Why a peer cannot be used, or an empty string."""
    for needed, package in _NEEDS[peer]:
        if needed == "npm" and _INSTALLED.is_dir():
            continue
        there = needed.exists() if isinstance(needed, Path) else shutil.which(needed)
        if not there:
            return f"install {package}"
    return "install postgresql" if peer == "postgresql" and postgresql_bin() is None else ""


def postgresql_bin() -> Path | None:
    """Folder of the newest PostgreSQL server's programs."""
    found = sorted(_POSTGRESQL.glob("*/bin/postgres"))
    return found[-1].parent if found else None
