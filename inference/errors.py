"""Errors of inference, one tree.

InferenceError
├── PackRefused            a pack folder that must not be used; the reason says which file and why
│   └── ManifestRefused    pack.toml or features.toml: file, key and what was expected
├── SessionRefused         a graph that ONNX Runtime does not place where it was asked to run
├── UnusableImage          images that cannot become what a pack declares; the reason says why
│   ├── UnusableVolume     of a volume
│   └── UnusableSlide      of a whole-slide image
└── NotAPrediction         JSON that is no stored prediction

Texts name files, keys and shapes; never a patient's name, identifier or value.
"""

from __future__ import annotations


class InferenceError(Exception):
    """Anything inference refuses."""


class PackRefused(InferenceError):
    """A pack that must not be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"pack refused: {reason}")
        self.reason = reason


class ManifestRefused(PackRefused):
    """A manifest with a key that is missing, unknown or not what it should be.

    Attributes:
        line: Of the key, or of the table that should have it; 0 where it cannot be told.
    """

    def __init__(self, file: str, key: str, expected: str, line: int = 0) -> None:
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {key}: expected {expected}")
        self.file, self.key, self.expected, self.line = file, key, expected, line


class SessionRefused(InferenceError):
    """A graph that does not run where it was asked to."""

    def __init__(self, graph: str, reason: str) -> None:
        super().__init__(f"graph {graph}: {reason}")
        self.graph, self.reason = graph, reason


class NoKernel(SessionRefused):
    """A graph whose operators ONNX Runtime knows, but cannot compute on this provider."""


class UnusableImage(InferenceError):
    """Images that cannot be brought to what the pack declares.

    Attributes:
        part: Of the pack's images: a modality, `phase PV`, `region of interest`.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part, self.reason = part, reason


class UnusableVolume(UnusableImage):
    """A volume that cannot be brought to the declared grid."""


class UnusableSlide(UnusableImage):
    """A slide that cannot be cut into the declared tiles."""


class NotAPrediction(InferenceError):
    """JSON in which a part of a prediction is missing or of another kind."""

    def __init__(self, key: str) -> None:
        super().__init__(f"stored prediction: {key} is missing or of another kind")
        self.key = key
