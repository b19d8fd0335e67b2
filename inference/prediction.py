"""A prediction as a value: what was said, of what, on what grounds, and under which key.

Storing and hash-chaining it is the ledger's work; wording it for an EHR is `mappings.outbound`'s.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from inference.errors import NotAPrediction
from inference.features import Missing, Used


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One class of the exclusive set, at the index or by a horizon.

    Attributes:
        probability: Calibrated, 0 to 1; the set of a horizon sums to 1.
        low: Lower end of the interval at `Prediction.interval`; high: upper end; None where the
            model tells none.
        horizon_days: None for a diagnosis at the index time.
    """

    code: str
    system: str
    display: str
    probability: float
    low: float | None
    high: float | None
    horizon_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedInstance:
    """One SOP instance whose pixels were read."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str
    pixel_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One locked result.

    Attributes:
        outcomes: The exclusive classes, for each horizon; `outcomes[0]` is what the tier is of.
        interval: Level of the outcomes' intervals; None where the model tells none.
        tier: Name of the tier, by the locked `threshold` on the first outcome.
        logit: Calibrated, of the first outcome; None where no single one exists.
        baseline_logit: What no modality's content decides; with `contributions_logit` (modality to
            calibrated logit) it sums to the calibrated logit within 1e-5. None, and no
            contributions, where the model is not additive.
        at_range_end: Inputs whose value was the end of an assay's range ("<" or ">").
        ood_reasons: Why this case is unlike the training cohort; empty when it is not.
        synthetic: The model was trained on synthetic data: every rendering says `words`, and no
            rendering is ever final.
        as_of: What was known at this moment was read, nothing later.
        recalibration: Version and digest of the site's own, or nothing.
    """

    pack: str
    pack_version: str
    pack_digest: str
    study: str
    question: str
    t0: datetime
    as_of: datetime
    outcomes: tuple[Outcome, ...]
    interval: float | None
    tier: str
    threshold: float
    threshold_locked: str
    logit: float | None
    baseline_logit: float | None
    contributions_logit: Mapping[str, float]
    used: tuple[Used, ...]
    instances: tuple[UsedInstance, ...]
    missing: tuple[Missing, ...]
    at_range_end: tuple[str, ...]
    ood_reasons: tuple[str, ...]
    synthetic: bool
    words: str
    provider: str
    recalibration: str = ""

    @property
    def out_of_distribution(self) -> bool:
        """Whether the case is unlike the training cohort."""
        return bool(self.ood_reasons)

    @property
    def may_be_final(self) -> bool:
        """Whether any rendering of this may ever carry the status final."""
        return not self.synthetic

    def instance_key(self, secret: bytes, patient: str) -> str:
        """HMAC-SHA256 over what was said of what: the same grounds give the same key.

        Only business keys, value digests and pixel digests count, so the same lab resent, seen by
        another door or re-stored under another sequence number makes no second result.

        Source: site-rules 13.
        """
        body = [
            patient,
            sorted({(u.key, u.digest, u.status) for u in self.used}),
            sorted({(i.sop_instance_uid, i.pixel_sha256) for i in self.instances}),
            self.pack_digest,
            self.question,
            sorted({o.horizon_days for o in self.outcomes if o.horizon_days is not None}),
            *filter(None, [self.recalibration]),
        ]
        return _keyed(secret, body)

    def series_key(self, secret: bytes, patient: str, episode: str) -> str:
        """HMAC-SHA256 that all results of one pack, question and episode of a patient share."""
        return _keyed(secret, [patient, self.pack, self.question, episode])

    def to_json(self) -> dict[str, Any]:
        """JSON values only; times as ISO 8601."""
        body = asdict(self)
        body["t0"], body["as_of"] = self.t0.isoformat(), self.as_of.isoformat()
        body["contributions_logit"] = dict(self.contributions_logit)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Prediction:
        """Inverse of `to_json`.

        Raises:
            NotAPrediction: a part is missing or of another kind.
        """
        try:
            rest = dict(body)
            for name in ("t0", "as_of"):
                rest[name] = datetime.fromisoformat(rest[name])
            for name, part in _PARTS.items():
                rest[name] = tuple(part(**p) for p in rest[name])
            for name in ("at_range_end", "ood_reasons"):
                rest[name] = tuple(rest[name])
            return cls(**rest)
        except KeyError as error:
            raise NotAPrediction(str(error.args[0])) from error
        except (TypeError, ValueError) as error:
            raise NotAPrediction("a field") from error


_PARTS: Mapping[str, type] = {
    "outcomes": Outcome,
    "used": Used,
    "instances": UsedInstance,
    "missing": Missing,
}


def _keyed(secret: bytes, body: object) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
