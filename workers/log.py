"""Logs: structlog with bound ids, and nothing of a patient.

Bound values are ids, names of interfaces and packs, counts and classes of errors. `redact` is the
second fence: a key that could carry more is not written at all.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any

import structlog

# Everything that may stand in a log line; a key that is not here is dropped and named.
ALLOWED = frozenset(
    {
        "event",
        "level",
        "line",
        "timestamp",
        "logger",
        "attempt",
        "backend",
        "bytes",
        "carrier",
        "count",
        "door",
        "error",
        "fence",
        "file",
        "host",
        "id",
        "interface",
        "job",
        "message",
        "missing",
        "pack",
        "path",
        "pid",
        "port",
        "prediction",
        "queue",
        "reason",
        "seconds",
        "site",
        "size",
        "stage",
        "state",
        "status",
        "trigger",
        "version",
        "why",
        "worker",
    }
)


def redact(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop keys nobody allowed, and escape what could forge a line (A14)."""
    dropped = [key for key in event if key not in ALLOWED]
    for key in dropped:
        del event[key]
    if dropped:
        event["missing"] = f"{len(dropped)} values withheld"
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def configure(log_format: str) -> None:
    """Set up structlog and the standard library's logging for a process."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log at warning and above only: httpx, for one, logs every URL at info.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    # What pydicom says of a value quotes it; what we refuse of an instance, we say ourselves.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom\b")
