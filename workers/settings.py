"""Settings: where things are. The only reader of the environment.

Who sends, which packs run and which carrier writes back stands in the site file (`site_file`),
what a model needs in its pack. Every setting is documented in docs/reference/settings.md.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Default = TypeVar("Default", int, None)
LAST_PORT = 65535  # TCP
_LAST_WRITER = 1023  # bits of an id that tell processes apart
_MOST_MB = 1 << 24


class BadSettings(Exception):
    """A setting that cannot be used; the service does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings.

    Attributes:
        data_dir: Blobs, embedded database, generated secret.
        journal_dir: The service's journal: local, durable, and of one service process only.
        database_url: `sqlite:///…` or `postgresql+psycopg://…`.
        broker_url: `sqla+sqlite:///…`, `amqp://…` or `redis://…`.
        site_file: TOML of the site.
        pack_folders: Folders whose children are packs.
        host: Address every door binds.
        http_port: Port of FHIR, STOW and health; 0 asks for a free one.
        mllp_port: Port of the first MLLP interface; further ones follow.
        api_tokens: Bearer tokens of the HTTP doors; may be empty on loopback only.
        allow_plaintext_off_loopback: Bind other than loopback without TLS of our own (a proxy or
            a private network carries it); loud on purpose.
        provider: `cpu` or `cuda`.
        threads: ONNX Runtime threads.
        worker_memory_mb: Address space of a ledger worker; 0 for no bound.
        log_format: `console` or `json`.
        secret: Tenant secret under which result keys are HMACed.
        writer: 0 to 1023, distinct per process of one ledger; None draws one.
    """

    data_dir: Path
    journal_dir: Path
    database_url: str
    broker_url: str
    site_file: Path
    pack_folders: tuple[Path, ...]
    host: str = "127.0.0.1"
    http_port: int = 8080
    mllp_port: int = 2575
    api_tokens: frozenset[str] = frozenset()
    allow_plaintext_off_loopback: bool = False
    provider: str = "cpu"
    worker_memory_mb: int = 4096
    log_format: str = "console"
    secret: bytes = b""
    writer: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read `ONCORD_*`.

        Raises:
            BadSettings: A value cannot be used.
        """
        env = os.environ if environment is None else environment
        data_dir = Path(env.get("ONCORD_DATA_DIR", "var")).resolve()
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folders = env.get("ONCORD_PACK_FOLDERS")
        packs = (
            tuple(Path(p) for p in folders.split(os.pathsep)) if folders else (_shipped_packs(),)
        )
        made = cls(
            data_dir=data_dir,
            journal_dir=Path(env.get("ONCORD_JOURNAL_DIR", data_dir / "journal")).resolve(),
            database_url=env.get("ONCORD_DATABASE_URL", f"sqlite:///{data_dir}/ledger.db"),
            broker_url=env.get("ONCORD_BROKER_URL", f"sqla+sqlite:///{data_dir}/broker.db"),
            site_file=Path(env.get("ONCORD_SITE_FILE", "sites/site.toml")),
            pack_folders=packs,
            host=env.get("ONCORD_HOST", "127.0.0.1"),
            http_port=_whole(env, "ONCORD_HTTP_PORT", 8080, LAST_PORT),
            mllp_port=_whole(env, "ONCORD_MLLP_PORT", 2575, LAST_PORT),
            api_tokens=frozenset(filter(None, env.get("ONCORD_API_TOKENS", "").split(","))),
            allow_plaintext_off_loopback=env.get("ONCORD_ALLOW_PLAINTEXT_OFF_LOOPBACK") == "yes",
            provider=_word(env, "ONCORD_PROVIDER", ("cpu", "cuda")),
            worker_memory_mb=_whole(env, "ONCORD_WORKER_MEMORY_MB", 4096, _MOST_MB),
            log_format=_word(env, "ONCORD_LOG_FORMAT", ("console", "json")),
            secret=_secret(env, data_dir),
            writer=_whole(env, "ONCORD_WRITER", None, _LAST_WRITER),
        )
        made.refuse_exposure()
        return made

    def store_url(self, path: str) -> str:
        """Our own STOW-RS resource of a path of the site file, as seen from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host  # noqa: S104
        root = f"/dicomweb/{path}" if path else "/dicomweb"
        return f"http://{host}:{self.http_port}{root}/studies"

    def refuse_exposure(self) -> None:
        """Off loopback, tokens and a loud word are required (A13).

        Raises:
            BadSettings: The doors would stand open.
        """
        if self.host == "localhost" or _is_loopback(self.host):
            return
        if not self.api_tokens:
            raise BadSettings("ONCORD_HOST is not loopback: ONCORD_API_TOKENS must be set")
        if not self.allow_plaintext_off_loopback:
            raise BadSettings(
                "ONCORD_HOST is not loopback and the doors speak plain text: set "
                "ONCORD_ALLOW_PLAINTEXT_OFF_LOOPBACK=yes if a proxy or a private network protects "
                "them"
            )


def worker_queue(environment: Mapping[str, str] | None = None) -> str:
    """The queue this process works (`ONCORD_WORKER`, set by `oncord worker`), or nothing."""
    return (os.environ if environment is None else environment).get("ONCORD_WORKER", "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shipped_packs() -> Path:
    from inference import packs  # noqa: PLC0415  only its place is wanted

    return Path(packs.__file__).parent / "packs"


def _word(env: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    sent = env.get(name, known[0])
    if sent not in known:
        raise BadSettings(f"{name} is {' or '.join(known)}")
    return sent


def _whole(env: Mapping[str, str], name: str, default: Default, high: int) -> int | Default:
    if name not in env:
        return default
    sent = env[name]
    if not sent.isdecimal() or not sent.isascii() or int(sent) > high:
        raise BadSettings(f"{name} is a whole number, 0 to {high}")
    return int(sent)


def _secret(env: Mapping[str, str], data_dir: Path) -> bytes:
    """The tenant secret: given, or made once and kept beside the data."""
    given = env.get("ONCORD_SECRET")
    if given:
        return given.encode()
    kept = data_dir / "tenant.secret"
    try:
        handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return kept.read_bytes()
    with os.fdopen(handle, "wb") as file:
        made = secrets.token_hex(32).encode()
        file.write(made)
    return made
