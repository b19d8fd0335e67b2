"""What is refused when it is posted to us: strict where reading is lenient (site rule 19).

fhir.resources checks structure; bindings, references, invariants and sizes are checked here, since
it does not. No message of ours repeats a value.
Source: FHIR R4 4.0.1; reliability.md A6; measured gaps of fhir.resources 8.3 (R4B).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from mappings.errors import InvalidResource, Issue
from mappings.tables import rows

_DEEPEST = 64
_MOST_ENTRIES = 5_000
_MOST_ISSUES = 50
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_REFERENCE = re.compile(
    r"(?:https?://[^\s|]+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/.+)?"
)
_ACTIVE = re.compile(
    r"<\s*(?:script|iframe|object|embed|form|link)\b|\bon[a-z]+\s*=|javascript:", re.IGNORECASE
)

_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE_TEXT = re.compile("[\x00\ud800-\udfff]")

# What pydantic and fhir.resources call it, to issue-type codes and words of ours.
_KINDS = {
    "missing": ("required", "element is required"),
    "extra_forbidden": ("structure", "element is not known to this resource"),
    "value_error": ("value", "value is not valid for its type"),
}


def parse(body: bytes) -> dict[str, Any]:
    """JSON as a resource, decimals as `Decimal` so that they keep their text.

    Raises:
        InvalidResource: Not JSON, not an object, or nested deeper than 64.
    """
    try:
        found = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidResource([Issue("$this", "structure", "body is not JSON")]) from error
    except RecursionError as error:
        raise InvalidResource([_too_deep()]) from error
    if not isinstance(found, dict):
        raise InvalidResource([Issue("$this", "structure", "body is not a JSON object")])
    if _depth_exceeds(found, _DEEPEST):
        raise InvalidResource([_too_deep()])
    if _UNSTORABLE.search(body):
        cleaned: dict[str, Any] = _storable(found)
        return cleaned
    return found


def _storable(node: Any) -> Any:
    """The same JSON with NUL and lone surrogates, which no database stores, as U+FFFD."""
    if isinstance(node, str):
        return _UNSTORABLE_TEXT.sub("\ufffd", node)
    if isinstance(node, list):
        return [_storable(item) for item in node]
    if isinstance(node, dict):
        return {_storable(name): _storable(item) for name, item in node.items()}
    return node


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _too_deep() -> Issue:
    return Issue("$this", "too-costly", f"nested deeper than {_DEEPEST}")


def validate(data: Mapping[str, Any]) -> None:
    """Refuse a resource or Bundle that is not valid R4.

    Args:
        data: Parsed JSON, by `parse`.

    Raises:
        InvalidResource: With up to 50 issues: expression, code and fixed words, never a value.
    """
    if _depth_exceeds(data, _DEEPEST):
        raise InvalidResource([_too_deep()])
    issues = list(_checked(data))
    if issues:
        raise InvalidResource(issues[:_MOST_ISSUES])


def outcome(error: InvalidResource) -> dict[str, Any]:
    """The OperationOutcome that answers a refused resource."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": issue.code,
                "diagnostics": issue.diagnostics,
                "expression": [issue.expression],
            }
            for issue in error.issues
        ],
    }


def _checked(data: Mapping[str, Any]) -> Iterator[Issue]:
    name = data.get("resourceType")
    if not isinstance(name, str) or not _is_model(name):
        yield Issue("$this", "structure", "resourceType is not one of R4")
        return
    if name != "Bundle":
        yield from _own_checks(data, name)
        yield from _structure(data, name)
        return
    listed = data.get("entry")
    listed = listed if isinstance(listed, list) else []
    if len(listed) > _MOST_ENTRIES:
        yield Issue("Bundle.entry", "too-costly", f"more than {_MOST_ENTRIES} entries")
        return
    yield from _own_checks(data, "Bundle")
    yield from _transaction(data, listed)
    # The shell and each resource apart: one unknown resourceType inside a Bundle ends
    # fhir.resources' reading of the whole with a bare KeyError.
    shell = [
        {k: v for k, v in e.items() if k != "resource"} if isinstance(e, dict) else e
        for e in listed
    ]
    yield from _structure({**data, "entry": shell} if listed else data, "Bundle")
    for number, item in enumerate(listed):
        resource = item.get("resource") if isinstance(item, dict) else None
        path = f"Bundle.entry[{number}].resource"
        if resource is None:
            continue
        if not isinstance(resource, dict):
            yield Issue(path, "structure", "expected a resource")
        elif not isinstance(resource.get("resourceType"), str) or not _is_model(
            resource["resourceType"]
        ):
            yield Issue(path, "structure", "resourceType is not one of R4")
        else:
            inner = resource["resourceType"]
            for issue in (*_own_checks(resource, inner), *_structure(resource, inner)):
                yield issue._replace(expression=path + issue.expression.removeprefix(inner))


def _transaction(data: Mapping[str, Any], listed: Sequence[Any]) -> Iterator[Issue]:
    """bdl-3: entries of a transaction or batch have a request; fullUrl is given once."""
    if data.get("type") not in ("transaction", "batch"):
        return
    seen: set[str] = set()
    for number, item in enumerate(listed):
        if not isinstance(item, dict):
            continue
        if not isinstance(item.get("request"), dict):
            yield Issue(f"Bundle.entry[{number}].request", "required", "element is required")
        url = item.get("fullUrl")
        if isinstance(url, str):
            if url in seen:
                yield Issue(f"Bundle.entry[{number}].fullUrl", "duplicate", "given twice")
            seen.add(url)


def _is_model(name: str) -> bool:
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415  150 ms; a reader needs it not
    from fhir.resources.R4B.resource import Resource  # noqa: PLC0415

    if _NAME.fullmatch(name) is None:
        return False
    try:
        found: Any = get_fhir_model_class(name)
    except Exception:  # noqa: BLE001  third party, untrusted name: ValueError, KeyError and others
        return False
    # Data types (HumanName) are models too, and no resources.
    return issubclass(found, Resource)


def _structure(data: Mapping[str, Any], name: str) -> Iterator[Issue]:
    """What fhir.resources finds, in our words."""
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415

    try:
        get_fhir_model_class(name).model_validate(dict(data))
    except ValidationError as error:
        for found in error.errors(include_input=False, include_context=False, include_url=False):
            code, words = _KINDS.get(found["type"], ("value", "value is not valid for its type"))
            yield Issue(_expression(name, found["loc"]), code, words)
    except Exception:  # noqa: BLE001  third-party parser of untrusted bytes raises bare KeyError
        yield Issue(name, "structure", "a contained resource or element cannot be read")


def _expression(name: str, location: Sequence[int | str]) -> str:
    """FHIRPath of a pydantic location; names that are none could be content, and are hidden."""
    path = name
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if _NAME.fullmatch(part) else ".?"
    return path


def _own_checks(data: Mapping[str, Any], name: str) -> Iterator[Issue]:
    identifier = data.get("id")
    if identifier is not None and not (isinstance(identifier, str) and _ID.fullmatch(identifier)):
        yield Issue(f"{name}.id", "value", "id is not 1 to 64 of A-Z a-z 0-9 - .")
    for row in rows("fhir_required"):
        owner, _, element = row["path"].partition(".")
        if owner == name and element not in data and f"_{element}" not in data:
            yield Issue(row["path"], "required", "element is required")
    for row in rows("fhir_bindings"):
        if row["path"].startswith(f"{name}."):
            allowed = row["codes"].split(" ")
            for path, found in _at(data, name, row["path"].split(".")[1:]):
                if found not in allowed:
                    yield Issue(path, "code-invalid", f"not one of {row['codes']}")
    for row in rows("fhir_references"):
        if row["path"].startswith(f"{name}."):
            yield from _references(data, name, row["path"], row["types"].split(" "))
    yield from _invariants(data, name)


def _references(
    data: Mapping[str, Any], name: str, path: str, allowed: list[str]
) -> Iterator[Issue]:
    for place, found in _at(data, name, path.split(".")[1:]):
        if not isinstance(found, Mapping):
            continue
        reference = found.get("reference")
        literal = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        target = literal[1] if literal else found.get("type")
        if isinstance(target, str) and target not in allowed:
            yield Issue(f"{place}.reference", "value", f"must refer to {' or '.join(allowed)}")
        if not any(key in found for key in ("reference", "identifier", "display", "extension")):
            yield Issue(place, "required", "reference without reference and identifier")


def _invariants(data: Mapping[str, Any], name: str) -> Iterator[Issue]:
    narrative = data.get("text")
    div = narrative.get("div") if isinstance(narrative, Mapping) else None
    if isinstance(div, str) and _ACTIVE.search(div):
        yield Issue(f"{name}.text.div", "invariant", "txt-1: narrative with active content")
    if name == "Observation":
        has_value = any(key.startswith("value") for key in data)
        if has_value and "dataAbsentReason" in data:
            yield Issue(name, "invariant", "obs-6: dataAbsentReason beside a value")
        yield from _quantities(data, name)
    if name == "Condition":
        verified = [v for _, v in _at(data, name, ["verificationStatus", "coding", "code"])]
        if "clinicalStatus" in data and "entered-in-error" in verified:
            yield Issue(name, "invariant", "con-5: clinicalStatus of a condition entered in error")
    contained = data.get("contained")
    for number, inner in enumerate(contained if isinstance(contained, list) else ()):
        if isinstance(inner, Mapping) and inner.get("contained"):
            yield Issue(f"{name}.contained[{number}]", "invariant", "dom-2: contained in contained")


def _quantities(data: Mapping[str, Any], name: str) -> Iterator[Issue]:
    """qty-3: a coded unit needs its system."""
    for steps in (["valueQuantity"], ["component", "valueQuantity"]):
        for path, found in _at(data, name, steps):
            if isinstance(found, Mapping) and found.get("code") and not found.get("system"):
                yield Issue(path, "invariant", "qty-3: code without system")


def _at(node: Any, path: str, steps: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Every value that a path of element names reaches, with its FHIRPath."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _at(item, f"{path}[{number}]", steps)
    elif not steps:
        yield path, node
    elif isinstance(node, Mapping) and steps[0] in node:
        yield from _at(node[steps[0]], f"{path}.{steps[0]}", steps[1:])


def _depth_exceeds(data: object, deepest: int) -> bool:
    level: list[Any] = [data]
    for _ in range(deepest):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
