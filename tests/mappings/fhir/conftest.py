"""Every resource of these tests is read as one patient's."""

from __future__ import annotations

from typing import Any

import pytest
from resources import WHO, Read

from mappings import fhir
from mappings.conversion import Conversion
from mappings.record import Source
from mappings.site import Site


@pytest.fixture(name="read")
def read_(site: Site, source: Source) -> Read:
    """Map a resource of the one patient."""

    def read(resource: dict[str, Any], who: Any = WHO) -> Conversion:
        return fhir.entries(resource, site=site, source=source, patient=who)

    return read
