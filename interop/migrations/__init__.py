"""Schema migrations by Alembic, run by the service process at start and by `oncord migrate`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

__all__ = ["config", "upgrade"]


def config(engine: Engine) -> Config:
    """Alembic's configuration for an open engine; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["engine"] = engine
    return made


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to a revision."""
    command.upgrade(config(engine), revision)
