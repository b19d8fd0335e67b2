"""The servers: PostgreSQL, RabbitMQ, Redis, Orthanc, and a FHIR server on Node.

Each is a private instance on free loopback ports with its data in a folder of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from peers import found
from peers.processes import folder, free_port, listens, running, unprivileged

NODE = Path(__file__).parent / "node"


@dataclass(frozen=True, slots=True)
class Postgresql:
    """A running PostgreSQL: its URL without a database name, and its postmaster."""

    url: str
    pid: int


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """A server; durable, as the ledger demands."""
    programs = found.postgresql_bin()
    assert programs is not None
    port = free_port()
    with folder("pg") as home:
        data = home / "data"
        made = unprivileged(
            [str(programs / "initdb"), "-A", "trust", "-U", "oncord", "--no-sync", "-E", "UTF8",
             "--locale=C.UTF-8", "-D", str(data)]
        )  # fmt: skip
        subprocess.run(made, check=True, capture_output=True, cwd=home)
        server = unprivileged(
            [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(home),
             "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        )  # fmt: skip
        log = home.parent / f"{home.name}.log"
        # SIGQUIT: no checkpoint of databases that are thrown away.
        with running(
            server, ready=partial(_pg_ready, programs, port), log=log, stop=signal.SIGQUIT
        ) as process:
            yield Postgresql(f"postgresql+psycopg://oncord@127.0.0.1:{port}", process.pid)
        log.unlink(missing_ok=True)


def _pg_ready(programs: Path, port: int) -> bool:
    asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "oncord"]
    return subprocess.run(asked, check=False).returncode == 0


@contextmanager
def redis(port: int = 0) -> Iterator[str]:
    """URL of a Redis, on a port of one's own to bring one back."""
    port = port or free_port()
    with folder("redis") as home:
        command = unprivileged(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home),
             "--save", "", "--appendonly", "no"]
        )  # fmt: skip
        with running(command, ready=lambda: listens(port), log=home / "log"):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def rabbitmq() -> Iterator[str]:
    """URL of a RabbitMQ of one node; its own epmd ends with it."""
    port, dist, epmd = free_port(), free_port(), free_port()
    with folder("rmq") as home:
        (home / "enabled").write_text("[].\n")
        (home / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )
        for child in home.iterdir():
            child.chmod(0o644)
        name = f"t{os.getpid()}@localhost"
        env = {
            "HOME": str(home),
            "RABBITMQ_NODENAME": name,
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "flags"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
        }
        try:
            command = unprivileged([str(found.RABBITMQ)])
            log = home / "log"
            with running(command, ready=lambda: _amqp_ready(port), log=log, env=env, timeout_s=90):
                yield f"amqp://guest:guest@127.0.0.1:{port}//"
        finally:
            _end_epmd(epmd)


def _amqp_ready(port: int) -> bool:
    if not listens(port):
        return False
    from kombu import Connection

    try:
        with Connection(f"amqp://guest:guest@127.0.0.1:{port}//", connect_timeout=1) as held:
            held.connect()
    except OSError:
        return False
    return True


def _end_epmd(port: int) -> None:
    """Epmd makes a session of its own and outlives its node: find ours by its port."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if words[0].endswith(b"epmd") and f"ERL_EPMD_PORT={port}\0".encode() in environment:
            os.kill(int(process.name), signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc."""

    url: str
    dicom_port: int

    @property
    def dicomweb(self) -> str:
        """Base URL of its DICOMweb."""
        return f"{self.url}/dicom-web"


@contextmanager
def orthanc() -> Iterator[Orthanc]:
    """A PACS."""
    http, dicom = free_port(), free_port()
    with folder("orthanc") as home:
        (home / "orthanc.json").write_text(
            json.dumps(
                {
                    "Name": "ONCORD-TEST",
                    "DicomAet": "ORTHANC",
                    "HttpPort": http,
                    "DicomPort": dicom,
                    "StorageDirectory": str(home / "store"),
                    "IndexDirectory": str(home / "store"),
                    "Plugins": [str(found.ORTHANC_DICOMWEB)],
                    "AuthenticationEnabled": False,
                    "RemoteAccessAllowed": False,
                    "DicomCheckCalledAet": False,
                    "StableAge": 3,
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
                }
            )
        )
        (home / "orthanc.json").chmod(0o644)
        command = unprivileged(["Orthanc", str(home / "orthanc.json")])
        with running(command, ready=lambda: listens(http), log=home / "log"):
            yield Orthanc(f"http://127.0.0.1:{http}", dicom)


def node_modules() -> None:
    """Install the validators and the FHIR server from the lock file when they are not here."""
    if not (NODE / "node_modules" / "fhir").is_dir():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=NODE, check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class FhirPeer:
    """A running FHIR server that nobody here wrote."""

    url: str

    def reset(self) -> None:
        """Forget everything."""
        httpx.post(self.url.removesuffix("/fhir") + "/reset").raise_for_status()

    def put(self, resource: Mapping[str, object]) -> None:
        """Store a resource under its own id."""
        url = f"{self.url}/{resource['resourceType']}/{resource['id']}"
        httpx.put(url, json=dict(resource)).raise_for_status()

    def all(self, kind: str) -> Sequence[dict[str, object]]:
        """Every resource of a type."""
        found_ = httpx.get(f"{self.url}/{kind}?_count=1000").raise_for_status().json()
        return [entry["resource"] for entry in found_.get("entry", [])]


@contextmanager
def fhir_peer() -> Iterator[FhirPeer]:
    """The Node FHIR server."""
    node_modules()
    port = free_port()
    with folder("node") as home:
        command = ["node", "--experimental-websocket", str(NODE / "fhir_peer.mjs"), str(port)]
        log = home / "log"
        with running(command, ready=lambda: listens(port), log=log):
            yield FhirPeer(f"http://127.0.0.1:{port}/fhir")
