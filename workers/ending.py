"""How every command ends on an error of ours: one line, one status, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from workers.settings import BadSettings

errors = Console(stderr=True, soft_wrap=True, highlight=False)


def stop(reason: str, status: int = 1) -> NoReturn:
    """Say why, and leave with a status: 1 for what was found, 2 for what was asked wrongly."""
    errors.print("[red]oncord:[/] ", end="")
    errors.print(reason, markup=False)
    raise typer.Exit(status)


@contextmanager
def explained() -> Iterator[None]:
    """Errors of ours, and of files, as `stop` tells them."""
    from inference.errors import InferenceError  # noqa: PLC0415  start-up time of `--help`
    from interop.errors import InteropError  # noqa: PLC0415
    from mappings.errors import MappingError  # noqa: PLC0415

    try:
        yield
    except BadSettings as error:
        stop(str(error), 2)
    except (InferenceError, InteropError, MappingError) as error:
        stop(str(error))
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        stop(f"{named}{error.strerror or error}")
