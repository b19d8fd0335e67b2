"""Messages for tests, written field by field so that numbers and not bars are counted."""

from __future__ import annotations

from mappings.conversion import Conversion


def segment(name: str, **fields: str) -> str:
    """`segment("OBR", f4="AFP")` is OBR with field 4."""
    last = max(int(k[1:]) for k in fields)
    return "|".join([name, *(fields.get(f"f{i}", "") for i in range(1, last + 1))])


def msh(event: str = "ORU^R01^ORU_R01", **fields: str) -> str:
    """An MSH with the usual fields; `f18="..."` adds or replaces others."""
    given = {
        "f2": "^~\\&",
        "f3": "LAB",
        "f4": "HOSP",
        "f5": "ONCORD",
        "f6": "HOSP",
        "f7": "20261120101112+0800",
        "f9": event,
        "f10": "C1",
        "f11": "P",
        "f12": "2.5.1",
        **fields,
    }
    whole = segment("MSH", f1="", **given)
    return "MSH|" + whole.removeprefix("MSH||")


PID = "PID|1||SYN-1^^^HOSP^MR"


def obr(**fields: str) -> str:
    """An OBR of a liver panel; `f3` is its filler number."""
    given = {
        "f1": "1",
        "f3": "F1",
        "f4": "24323-8^Panel^LN",
        "f7": "20261120093000+0800",
        "f22": "20261120100000+0800",
        "f24": "CH",
        "f25": "F",
        **fields,
    }
    return segment("OBR", **given)


def obx(kind: str = "NM", value: str = "5", unit: str = "ng/mL", **fields: str) -> str:
    """An OBX of an AFP."""
    given = {
        "f1": "1",
        "f2": kind,
        "f3": "1834-1^AFP^LN",
        "f5": value,
        "f6": unit,
        "f11": "F",
        **fields,
    }
    return segment("OBX", **given)


def oru(*segments: str, **header: str) -> bytes:
    """An ORU^R01 of these segments after MSH and PID."""
    return "\r".join([msh(**header), PID, *segments, ""]).encode()


def reasons(conversion: Conversion, path: str) -> list[str]:
    """Why something at a path was reported."""
    return [f.reason for f in conversion.findings if f.path == path]
