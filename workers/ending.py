"""How every command ends on an error of ours: one line, one status, no traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def unexpected() -> Iterator[None]:
    """What nobody foresaw: its class and its place in our code, which is all a report needs.

    Never its text: an exception of a library may quote what a patient's message says.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  the boundary of the program
        ours = Path(__file__).resolve().parents[1]
        place = "a library"
        for frame in traceback.extract_tb(error.__traceback__):
            file = Path(frame.filename)
            if file.is_relative_to(ours) and "site-packages" not in file.parts:
                place = f"{file.relative_to(ours)}, line {frame.lineno}"
        errors.print(f"oncord: unexpected {type(error).__name__} at {place}", markup=False)
        raise SystemExit(1) from None
