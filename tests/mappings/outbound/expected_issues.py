"""Issues of the independent validators that are expected, each with its reason. Nothing else is."""

from __future__ import annotations

import re

# (validator, severity, pattern of place, pattern of text, reason)
EXPECTED = (
    ("medplum", "warning", r"", r"^Invalid reference: got \"urn:uuid:",
     "a transaction's own references; the graph rules resolve them"),
    ("fhir", "error", r"^Observation\.derivedFrom",
     r'^Invalid type for reference \{"reference":"Observation/[^/"]+/_history/[^/"]+"\}$',
     "it takes the last but one word of a version-specific reference for the type"),
    ("fhir", "info", r"", r"^Value set \"http.*\" could not be found\.$",
     "value sets that it does not carry, none of required strength"),
    ("fhir", "warning", r"", r"^Code \"AIAST\" .*v3-ObservationValue\) not found in value set$",
     "newer than 4.0.1; the binding of meta.security is extensible"),
    ("fhir", "warning", r"^(Device\.type|Provenance\.agent)",
     r"^Code \"Artificial-Intelligence\" .*AIdeviceTypeCS\)",
     "the AI Transparency guide's own code system; example and extensible bindings"),
    ("fhir", "warning", r"\.meta\.tag", r"^Code \"(unreviewed|synthetic)\" \(https://oncord\.example",
     "tags are for workflow; example binding"),
    ("fhir", "warning", r"^(Observation|DiagnosticReport)\.code",
     r"^Code \"(malignant|benign|liver-lesion-malignancy)\" \(https://oncord\.example",
     "local codes of what was asked and answered; example and preferred bindings"),
    ("fhir", "warning", r"^DiagnosticReport\.(code|category)",
     r"^Code \"(18748-4|RAD)\" \(http://(loinc\.org|terminology\.hl7\.org/CodeSystem/v2-0074)\)",
     "it carries neither LOINC nor table 0074"),
)  # fmt: skip


def is_expected(issue: dict[str, str]) -> bool:
    """Whether an issue is on the list."""
    return any(
        (issue["by"], issue["severity"]) == (by, severity)
        and re.search(place, issue["at"])
        and re.search(pattern, issue["text"])
        for by, severity, place, pattern, _ in EXPECTED
    )
