"""What a sender declared of one question: the unit of its bare numbers, its own answers' meaning.

A unit that was not sent is never inferred from a value, a range or another sender. What any of a
sender's codes means, whatever was asked, is in `codes`; spellings of units are in `units`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mappings.codes import best_first, is_standard, mapped
from mappings.record import Code
from mappings.site import Site


def default_unit(question: Iterable[Code], site: Site) -> str | None:
    """The UCUM unit in which this sender gives numbers of a question without one, if it said so."""
    found = (site.default_units.get((code.system, code.code)) for code in question)
    return next((unit for unit in found if unit is not None), None)


def answered(codings: tuple[Code, ...], question: Iterable[Code], site: Site) -> tuple[Code, ...]:
    """Codings of an answer, best first; what one means here stands for what it means anywhere."""
    asked = [(code.system, code.code) for code in question]
    made: list[Code] = list(codings)
    for coding in codings:
        places = ((*one, coding.system, coding.code) for one in asked)
        found = next((site.answer_maps[p] for p in places if p in site.answer_maps), None)
        if found is None:
            continue
        anywhere = mapped(coding, site)
        made = [code for code in made if code != anywhere]
        made.append(found if found.display else Code(found.system, found.code, coding.display))
    return best_first(made)


def is_local(codings: Iterable[Code]) -> bool:
    """Whether an answer has codes, and none that others would understand."""
    systems = [code.system for code in codings]
    return bool(systems) and not any(is_standard(system) for system in systems)
