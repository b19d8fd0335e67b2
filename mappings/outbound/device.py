"""The model as a Device: immutable, one per (id, version, digest). Source: writeback.md 1.5."""

from __future__ import annotations

from typing import Any

from mappings.outbound.result import Result, device_id
from mappings.outbound.terms import AI_DEVICE_TYPE, MODEL_SYSTEM


def device(result: Result) -> dict[str, Any]:
    """The Device resource."""
    model = result.model
    return {
        "resourceType": "Device",
        "id": device_id(model),
        "identifier": [
            {
                "system": f"{result.namespace}/{MODEL_SYSTEM}",
                # No "|": a token search would take it for the end of the system.
                "value": f"{model.id}/{model.version}/sha256:{model.digest}",
            }
        ],
        "status": "active",
        "manufacturer": model.manufacturer,
        "deviceName": [{"name": f"{model.id} {model.version}", "type": "model-name"}],
        "modelNumber": model.id,
        "type": {
            "coding": [{"system": AI_DEVICE_TYPE, "code": "Artificial-Intelligence"}],
            "text": "Artificial intelligence model",
        },
        "version": [
            {"type": {"text": "model"}, "value": model.version},
            {"type": {"text": "pack-sha256"}, "value": model.digest},
            {"type": {"text": "service"}, "value": model.service_version},
        ],
        "note": [{"text": f"{model.name}. Study {model.study}. Not a cleared device, no UDI."}],
    }
