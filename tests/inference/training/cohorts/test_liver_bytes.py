"""The kit was made of the mechanics of `liver-cohort/1` and left its bytes alone."""

from __future__ import annotations

import hashlib

from inference.training import liver


def test_the_liver_cohort_has_the_bytes_it_had_before_the_kit():
    """Voxels, lesions and reports of six patients, as digested when `volume` was still its own.

    The shipped pack's split hashes rest on them.
    """
    found = hashlib.sha256()
    for i in range(6):
        p = liver.patient(5, i, external=i % 3 == 0, erased=i % 5 == 0)
        assert p.ct is not None
        assert p.truth.lesion is not None
        found.update(p.ct.tobytes() + p.truth.lesion.tobytes())
        found.update(p.findings.encode() + p.impression.encode())
    assert "582cc84910f6ab892c46a858df3bd86265628248aa6f4572a6cf98bca255ac25" == found.hexdigest()
