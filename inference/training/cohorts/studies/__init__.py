"""The declared studies, one module each with its `STUDY`, found by listing this folder.

Declaring and rendering need numpy only; what checks them is in `inference.training.cohorts.check`.
"""

from __future__ import annotations

import importlib
import pkgutil

from inference.training.cohorts.errors import UnknownStudy
from inference.training.cohorts.study import Study


def declared() -> tuple[str, ...]:
    """Names of the studies that are declarations on the kit."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return tuple(n for n in found if _of(n) is not None)


def study(name: str) -> Study:
    """A declared study.

    Raises:
        UnknownStudy: No declaration has this name.
    """
    known = declared()
    found = _of(name) if name in known else None
    if found is None:
        raise UnknownStudy(name, known)
    return found


def _of(module: str) -> Study | None:
    """The study of a module; helpers beside the studies have none."""
    found = getattr(importlib.import_module(f"{__name__}.{module}"), "STUDY", None)
    return found if isinstance(found, Study) else None
