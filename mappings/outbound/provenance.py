"""Provenance: which model made what, of which exact inputs. Source: writeback.md 1.6."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from mappings.outbound.parts import instant
from mappings.outbound.result import Result
from mappings.outbound.risk_assessment import basis
from mappings.outbound.terms import AI_DEVICE_TYPE, AIAST, PARTICIPANT_TYPE, RESULT_SYSTEM


def provenance(result: Result, targets: Sequence[str], device: str) -> dict[str, Any]:
    """The Provenance of one version of a result."""
    made_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{result.namespace}/prov/{result.instance_key}"))
    entities: list[dict[str, Any]] = [{"role": "source", "what": what} for what in basis(result)]
    entities.append(
        {
            "role": "revision" if result.revision > 1 else "derivation",
            "what": {
                "identifier": {
                    "system": f"{result.namespace}/{RESULT_SYSTEM}",
                    "value": f"{result.lineage}#dr" if result.revision > 1 else result.model.digest,
                },
                "display": "earlier version" if result.revision > 1 else "model pack",
            },
        }
    )
    return {
        "resourceType": "Provenance",
        "id": made_id,
        "meta": {"security": [AIAST]},
        "target": [{"reference": reference} for reference in targets],
        "occurredDateTime": instant(result.issued),
        "recorded": instant(result.issued),
        "reason": [{"coding": [AIAST]}],
        "agent": [
            {
                "type": {"coding": [{"system": PARTICIPANT_TYPE, "code": "author"}]},
                "role": [
                    {"coding": [{"system": AI_DEVICE_TYPE, "code": "Artificial-Intelligence"}]}
                ],
                "who": {"reference": device},
            }
        ],
        "entity": entities,
    }
