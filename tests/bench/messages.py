"""ORU^R01 with 30 OBX, about 4 kB, of many patients: the same bytes for everybody.

Values are drawn, nobody's. Source: HL7 v2.5.1 chapter 7.3.1.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_TESTS = (
    ("1834-1", "Alpha-1-Fetoprotein", "ng/mL", 1, 400, "0-7"),
    ("1751-7", "Albumin", "g/L", 30, 50, "40-55"),
    ("1975-2", "Bilirubin total", "umol/L", 5, 40, "5-21"),
    ("1742-6", "Alanine aminotransferase", "U/L", 7, 120, "9-50"),
    ("1920-8", "Aspartate aminotransferase", "U/L", 8, 120, "15-40"),
    ("777-3", "Platelets", "10*9/L", 60, 400, "125-350"),
    ("6301-6", "INR", "1", 0.9, 1.6, "0.8-1.2"),
    ("24108-3", "Cancer Ag 19-9", "U/mL", 1, 60, "0-37"),
    ("718-7", "Hemoglobin", "g/dL", 9, 17, "13.0-17.5"),
    ("2345-7", "Glucose", "mg/dL", 60, 200, "70-99"),
    ("2160-0", "Creatinine", "mg/dL", 0.5, 2.0, "0.7-1.3"),
    ("2951-2", "Sodium", "mmol/L", 130, 150, "136-145"),
    ("2823-3", "Potassium", "mmol/L", 3, 6, "3.5-5.1"),
    ("2075-0", "Chloride", "mmol/L", 95, 110, "98-107"),
    ("3094-0", "Urea nitrogen", "mg/dL", 5, 40, "7-20"),
    ("6690-2", "Leukocytes", "10*9/L", 3, 12, "3.5-9.5"),
    ("789-8", "Erythrocytes", "10*12/L", 3, 6, "4.3-5.8"),
    ("4544-3", "Hematocrit", "%", 30, 52, "40-50"),
    ("787-2", "MCV", "fL", 78, 102, "82-100"),
    ("785-6", "MCH", "pg", 25, 36, "27-34"),
    ("786-4", "MCHC", "g/L", 310, 365, "316-354"),
    ("2324-2", "Gamma glutamyl transferase", "U/L", 8, 120, "10-60"),
    ("6768-6", "Alkaline phosphatase", "U/L", 30, 180, "45-125"),
    ("2885-2", "Protein total", "g/L", 55, 85, "65-85"),
    ("1968-7", "Bilirubin direct", "umol/L", 1, 15, "0-6"),
    ("2532-0", "Lactate dehydrogenase", "U/L", 100, 350, "120-250"),
    ("2039-6", "Carcinoembryonic Ag", "ng/mL", 0.5, 12, "0-5"),
    ("1988-5", "C reactive protein", "mg/L", 0.1, 60, "0-10"),
    ("14979-9", "aPTT", "s", 20, 45, "25-37"),
    ("5902-2", "Prothrombin time", "s", 9, 18, "9.4-12.5"),
)
PATIENTS = 500
END = b"\x1c\r"


@dataclass(frozen=True, slots=True)
class Feed:
    """A reproducible feed: `message(i)` is the same bytes for the same series and number."""

    series: str
    patients: tuple[_Patient, ...]
    bodies: tuple[bytes, ...]

    def control_id(self, number: int) -> bytes:
        """MSH-10."""
        return b"%s%07d" % (self.series.encode(), number)

    def message(self, number: int) -> bytes:
        """The message, without its MLLP frame."""
        body = self.bodies[number % PATIENTS]
        return self._head(number) + body.replace(b"@FILLER@", b"F%07d" % number)

    def written(self, number: int) -> bytes:
        """The same message, written segment by segment as a sender does when it sends it."""
        patient = self.patients[number % PATIENTS]
        return self._head(number) + patient.body(f"F{number:07d}").encode()

    def framed(self, number: int) -> bytes:
        """The message in its MLLP frame."""
        return b"\x0b" + self.message(number) + END

    def _head(self, number: int) -> bytes:
        return (
            b"MSH|^~\\&|LIS|DEMOHOSP|ONCORD|DEMOHOSP|20261120101112.123+0800||ORU^R01^ORU_R01|"
            + self.control_id(number)
            + b"|P|2.5.1|||AL|NE||UNICODE UTF-8\r"
        )


_patients: list[_Patient] = []
_bodies: list[bytes] = []


def feed(series: str) -> Feed:
    """A feed whose control ids no other series shares; the same patients and values in all."""
    if not _patients:
        rng = random.Random(20261121)  # noqa: S311  values, no secrets
        _patients.extend(_Patient.drawn(rng, number) for number in range(PATIENTS))
        _bodies.extend(patient.body("@FILLER@").encode() for patient in _patients)
    return Feed(series, tuple(_patients), tuple(_bodies))


@dataclass(frozen=True, slots=True)
class _Patient:
    number: int
    born: str
    sex: str
    results: tuple[tuple[str, str], ...]  # value and flag of each test

    @classmethod
    def drawn(cls, rng: random.Random, number: int) -> _Patient:
        born = f"19{rng.randrange(40, 99)}0{rng.randrange(1, 9)}12"
        sex = rng.choice("MF")
        results = (
            (f"{rng.uniform(low, high):.2f}", rng.choice("NHL")) for _, _, _, low, high, _ in _TESTS
        )
        return cls(number, born, sex, tuple(results))

    def body(self, filler: str) -> str:
        """Every segment but MSH."""
        number = self.number
        segments = [
            (
                f"PID|1||SYN-{number:08d}^^^DEMOHOSP^MR~{number:011d}^^^DEMOHOSP2^PI||"
                f"SYNTHETIC^PATIENT^{number}||{self.born}|{self.sex}|||"
                "1 EXAMPLE RD^^EXAMPLE CITY^^000000^CHN^H"
            ),
            (
                "PV1|1|I|HEP^301^A^DEMOHOSP^^N||||1234^DOCTOR^DEMO^^^DR|||MED||||7|||"
                f"1234^DOCTOR^DEMO|IN|V{number:08d}^^^DEMOHOSP^VN"
            ),
            (f"ORC|RE|P{filler}|{filler}^LIS||CM||||20261120093000+0800|||1234^DOCTOR^DEMO^^^DR"),
            (
                f"OBR|1|P{filler}|{filler}^LIS|24323-8^Comprehensive panel^LN^CP^Panel^L|||"
                "20261120093000+0800|||||||||1234^DOCTOR^DEMO||||||20261120101000+0800||CH|F"
            ),
        ]
        lines = zip(_TESTS, self.results, strict=True)
        for line, ((loinc, name, unit, _, _, usual), (value, flag)) in enumerate(lines, 1):
            segments.append(
                f"OBX|{line}|NM|{loinc}^{name}^LN^L{line}^{name} local^L|{line}|{value}|{unit}|"
                f"{usual}|{flag}|||F|||20261120093000+0800||TECH^DEMO|ANALYSER^1^LIS"
            )
        segments.append("NTE|1|L|Sample mildly \\T\\ visibly haemolysed\\.br\\repeat if needed")
        return "\r".join(segments) + "\r"
