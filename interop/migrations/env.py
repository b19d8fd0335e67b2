"""Alembic's entry: runs the migrations on the engine it was handed."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import interop.tables  # noqa: F401  registers the tables

connection = context.config.attributes["engine"].connect()
with connection:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
