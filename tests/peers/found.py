"""Which real peers this machine has, and how each is told from its absence.

Source of the recipes: the peers' own manuals; package names are Debian 12's.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

_NODE = Path(__file__).parent / "node"
PEERS = (
    "postgresql",
    "rabbitmq",
    "redis",
    "orthanc",
    "dcmtk",
    "dicom3tools",
    "node",
    "strace",
    "curl",
)


@cache
def missing(peer: str) -> str:
    """Why a peer cannot be used, or an empty string."""
    match peer:
        case "postgresql":
            return "" if postgresql_bin() else "install postgresql"
        case "rabbitmq":
            return "" if RABBITMQ.exists() else "install rabbitmq-server"
        case "redis":
            return _program("redis-server", "redis-server")
        case "orthanc":
            return _program("Orthanc", "orthanc") or (
                "" if ORTHANC_DICOMWEB.exists() else "install orthanc-dicomweb"
            )
        case "dcmtk":
            return _program("storescu", "dcmtk")
        case "dicom3tools":
            return _program("dciodvfy", "dicom3tools")
        case "node":
            return _program("node", "nodejs") or (
                "" if (_NODE / "node_modules").is_dir() else _program("npm", "npm")
            )
        case "strace" | "curl":
            return _program(peer, peer)
    raise LookupError(peer)


RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ORTHANC_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def postgresql_bin() -> Path | None:
    """Folder of the newest PostgreSQL server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def _program(name: str, package: str) -> str:
    return "" if shutil.which(name) else f"install {package}"
