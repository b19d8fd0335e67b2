"""Stained sections as DICOM whole slide images: a pyramid, a thumbnail, a label and an overview.

One slide is one series; all slides of a block are one study under the pathology case number. Tiles
are JPEG baseline 4:2:2, by Pillow. What is on the glass is drawn in `tissue` or by a generator.
Source: PS3.3 A.32.8, C.8.12.4 (whole slide), C.7.6.22 (specimen), C.8.12.5 (optical path), C.11.15
(ICC profile); PS3.16 TID 8001 to 8004; models.md 6.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from workers.demo.subject import AUTHORITY, CannotSend, Subject, code_item, identify, study

Pixels = NDArray[np.uint8]
Flavour = Literal["VOLUME", "THUMBNAIL", "LABEL", "OVERVIEW"]
_Code = tuple[str, str, str]

TILE_PX = 256
LEVELS = 3
_QUALITY = 90
_GLASS_MM, _LABEL_MM = 75.0, 25.0
_WHITE = 244
_SECTION_UM = 4.0
# Where the image begins on the slide, in the slide's coordinates (PS3.3 C.8.12.2.1).
_ORIGIN_MM = (20.0, 40.0)

_HAEMATOXYLIN: _Code = ("12710003", "SCT", "hematoxylin stain")
_EOSIN: _Code = ("36879007", "SCT", "water soluble eosin stain")
_IHC: _Code = ("117617002", "SCT", "Immunohistochemistry")
_STAINING: _Code = ("127790008", "SCT", "Staining")
_SUBSTANCE: _Code = ("424361007", "SCT", "Using substance")
_PROCESSING_TYPE: _Code = ("111701", "DCM", "Processing type")
_STEP: _Code = ("111703", "DCM", "Processing step description")
_SPECIMEN_ID: _Code = ("121041", "DCM", "Specimen Identifier")
_SLIDE: _Code = ("433466003", "SCT", "Microscope slide")
_SECTION: _Code = ("430856003", "SCT", "Tissue section")
_BRIGHTFIELD: _Code = ("111744", "DCM", "Brightfield illumination")
_FULL_SPECTRUM: _Code = ("414298005", "SCT", "Full Spectrum")

ORGANS: Mapping[str, _Code] = {
    "liver": ("10200004", "SCT", "Liver"),
    "breast": ("76752008", "SCT", "Breast"),
    "colon": ("71854001", "SCT", "Colon"),
}


@dataclass(frozen=True, slots=True)
class Stain:
    """One staining: name in Chinese, and the antibody where it is immunohistochemistry."""

    chinese: str
    antibody: str = ""


STAINS: Mapping[str, Stain] = {
    "H&E": Stain("苏木精-伊红染色"),
    "Pan-CK": Stain("广谱细胞角蛋白免疫组化", "Pan-CK (AE1/AE3)"),
    "CD3": Stain("CD3免疫组化", "CD3 (LN10)"),
    "CD20": Stain("CD20免疫组化", "CD20 (L26)"),
    "ER": Stain("雌激素受体免疫组化", "ER (SP1)"),
    "PR": Stain("孕激素受体免疫组化", "PR (1E2)"),
    "HER2": Stain("HER2免疫组化", "HER2 (4B5)"),
    "Ki-67": Stain("Ki-67免疫组化", "Ki-67 (MIB-1)"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slide:
    """One stained section on glass.

    Attributes:
        who: The patient; `t0` is when the specimen was taken.
        stain: Of `STAINS`.
        pixels: (H, W, 3) uint8, sRGB.
        microns_per_pixel: Of `pixels`.
        section: Number of the section in its block, from 1; consecutive ones are neighbours.
        organ: Of `ORGANS`.

    Raises:
        CannotSend: The stain, organ, pixels or scale do not fit.
    """

    who: Subject
    stain: str
    pixels: Pixels
    microns_per_pixel: float
    section: int = 1
    organ: str = "liver"

    def __post_init__(self) -> None:
        if self.stain not in STAINS:
            raise CannotSend(f"stain {self.stain}", f"one of {', '.join(STAINS)}")
        if self.organ not in ORGANS:
            raise CannotSend(f"organ {self.organ}", f"one of {', '.join(ORGANS)}")
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:  # noqa: PLR2004
            raise CannotSend(f"pixels {shape}", "(H, W, 3) uint8")
        if min(shape[:2]) < TILE_PX or any(n % 2 ** (LEVELS - 1) for n in shape[:2]):
            raise CannotSend(f"pixels {shape}", f"at least {TILE_PX} px, halved {LEVELS - 1} times")
        if not self.microns_per_pixel > 0:
            raise CannotSend("microns_per_pixel", "micrometres above 0")

    @property
    def block(self) -> str:
        """The paraffin block: pathology case number and block."""
        return f"{self.who.numbered('P')}-A1"

    @property
    def container(self) -> str:
        """Container Identifier, as on the label."""
        return f"{self.block}-{self.section}"

    @property
    def scanned(self) -> datetime:
        """When the scanner took it."""
        return self.who.t0 + timedelta(days=3, minutes=10 * self.section)


def study_uid(who: Subject) -> str:
    """Study Instance UID of all slides of somebody's case."""
    return who.uid("slides")


def series_uid(slide: Slide) -> str:
    """Series Instance UID of a slide."""
    return slide.who.uid("slides", slide.container)


def counts(*slides: Slide) -> dict[str, int]:
    """Instances by series, as a pathology system would announce them."""
    return {series_uid(slide): LEVELS + 3 for slide in slides}


def instances(slide: Slide) -> Iterator[Dataset]:
    """Every instance of a slide: levels from the finest, thumbnail, label, overview."""
    pixels, mpp = slide.pixels, slide.microns_per_pixel
    for level in range(LEVELS):
        yield _instance(slide, "VOLUME", level, pixels, mpp)
        if level < LEVELS - 1:
            pixels, mpp = _halved(pixels), mpp * 2
    small = _fitted(pixels, TILE_PX)
    smaller = slide.pixels.shape[1] / small.shape[1]
    yield _instance(slide, "THUMBNAIL", LEVELS, small, slide.microns_per_pixel * smaller)
    yield _instance(slide, "LABEL", LEVELS + 1, _label(slide), _LABEL_MM / 320 * 1000)
    yield _instance(slide, "OVERVIEW", LEVELS + 2, *_overview(small, _label(slide)))


def _halved(pixels: Pixels) -> Pixels:
    """Mean of 2 x 2, rounded."""
    wide = pixels.astype(np.uint16)
    four = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
    found: Pixels = ((four + 2) // 4).astype(np.uint8)
    return found


def _fitted(pixels: Pixels, longest: int) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(image)


def _label(slide: Slide) -> Pixels:
    """What is printed on the glass, in ASCII as label printers have it."""
    image = Image.new("RGB", (320, 320), (250, 250, 245))
    pen = ImageDraw.Draw(image)
    lines = (slide.container, slide.stain, slide.who.number, "SYNTHETIC", "NOT A PERSON")
    for number, line in enumerate(lines):
        pen.text((16, 20 + 56 * number), line, fill=(20, 20, 20), font_size=36)
    return np.asarray(image)


def _overview(small: Pixels, label: Pixels) -> tuple[Pixels, float]:
    """The glass seen from above, label on its left, and its micrometres per pixel."""
    glass = np.full((320, 960, 3), _WHITE, np.uint8)
    glass[:, :320] = label
    seen = _fitted(small, 200)
    glass[60 : 60 + seen.shape[0], 540 : 540 + seen.shape[1]] = seen
    return glass, _GLASS_MM / 960 * 1000


def _instance(slide: Slide, flavour: Flavour, number: int, pixels: Pixels, mpp: float) -> Dataset:
    who, stain = slide.who, STAINS[slide.stain]
    case = who.numbered("P")
    made = study(who, study_uid(who), "病理切片数字化", case, who.t0)
    made.SeriesInstanceUID = series_uid(slide)
    made.SeriesNumber, made.InstanceNumber = str(slide.section), str(number + 1)
    made.SeriesDescription = f"{slide.stain} {stain.chinese}"
    made.Modality = "SM"
    made.FrameOfReferenceUID = who.uid("slides", slide.container, "frame")
    made.PositionReferenceIndicator = "SLIDE_CORNER"
    made.Manufacturer, made.ManufacturerModelName = "Oncord demo", "synthetic scanner"
    made.DeviceSerialNumber, made.SoftwareVersions = "SYN-SM-1", "1"
    for kind in ("Series", "Acquisition", "Content"):
        setattr(made, f"{kind}Date", slide.scanned.strftime("%Y%m%d"))
        setattr(made, f"{kind}Time", slide.scanned.strftime("%H%M%S"))
    made.AcquisitionDateTime = slide.scanned.strftime("%Y%m%d%H%M%S%z")
    made.AcquisitionContextSequence = []
    _specimen(made, slide)
    _optical_path(made, slide)
    _whole_slide(made, slide, flavour, number, pixels.shape[:2], mpp)
    _frames(made, pixels, tiled=flavour == "VOLUME")
    uid = who.uid("slides", slide.container, flavour, number)
    return identify(made, VLWholeSlideMicroscopyImageStorage, uid, JPEGBaseline8Bit)


def _whole_slide(
    made: Dataset, slide: Slide, flavour: Flavour, number: int, shape: tuple[int, ...], mpp: float
) -> None:
    """The image, its place on the glass, and what all of its frames share."""
    resampled = flavour == "THUMBNAIL" or number in range(1, LEVELS)
    made.ImageType = [
        "DERIVED" if resampled else "ORIGINAL", "PRIMARY", flavour,
        "RESAMPLED" if resampled else "NONE",
    ]  # fmt: skip
    rows, columns = shape
    spacing = mpp / 1000
    made.ImagedVolumeWidth, made.ImagedVolumeHeight = columns * spacing, rows * spacing
    made.ImagedVolumeDepth = _SECTION_UM
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = columns, rows
    made.TotalPixelMatrixFocalPlanes, made.NumberOfOpticalPaths = 1, 1
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = (
        f"{at:g}" for at in _ORIGIN_MM
    )
    made.TotalPixelMatrixOriginSequence = [origin]
    made.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
    made.VolumetricProperties, made.FocusMethod = "VOLUME", "AUTO"
    made.ExtendedDepthOfField = "NO"
    labelled = "YES" if flavour in ("LABEL", "OVERVIEW") else "NO"
    made.SpecimenLabelInImage = made.BurnedInAnnotation = labelled
    made.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = slide.who.uid("slides", slide.container, "dimensions")
    made.DimensionOrganizationSequence = [organization]
    made.DimensionIndexSequence = [
        _dimension(organization.DimensionOrganizationUID, keyword)
        for keyword in (f"{axis}PositionInTotalImagePixelMatrix" for axis in ("Row", "Column"))
    ]
    if flavour in ("LABEL", "OVERVIEW"):
        made.BarcodeValue, made.LabelText = slide.container, f"{slide.container} {slide.stain}"
    measures, path, frame_type = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [f"{spacing:.10g}"] * 2
    measures.SliceThickness = f"{_SECTION_UM / 1000:g}"
    path.OpticalPathIdentifier = "1"
    frame_type.FrameType = made.ImageType
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.OpticalPathIdentificationSequence = [path]
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    made.SharedFunctionalGroupsSequence = [shared]


def _dimension(organization: str, keyword: str) -> Dataset:
    made = Dataset()
    made.DimensionOrganizationUID = organization
    made.DimensionIndexPointer = Tag(keyword)
    made.FunctionalGroupPointer = Tag("PlanePositionSlideSequence")
    return made


def _frames(made: Dataset, pixels: Pixels, *, tiled: bool) -> None:
    """Pixels as JPEG, row by row of tiles (PS3.3 C.7.6.17.3), the last ones filled up in white."""
    height, width = (TILE_PX, TILE_PX) if tiled else pixels.shape[:2]
    padded = np.pad(
        pixels,
        ((0, -pixels.shape[0] % height), (0, -pixels.shape[1] % width), (0, 0)),
        constant_values=_WHITE,
    )
    frames = [
        _jpeg(padded[top : top + height, left : left + width])
        for top in range(0, padded.shape[0], height)
        for left in range(0, padded.shape[1], width)
    ]
    made.Rows, made.Columns, made.NumberOfFrames = height, width, str(len(frames))
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "YBR_FULL_422"
    made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.LossyImageCompression, made.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ratio = padded.nbytes / sum(map(len, frames))
    made.LossyImageCompressionRatio = f"{ratio:.2f}"
    made.PixelData = encapsulate(frames)


def _jpeg(tile: Pixels) -> bytes:
    buffer = BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=_QUALITY, subsampling="4:2:2")
    return buffer.getvalue()


def _optical_path(made: Dataset, slide: Slide) -> None:
    stain = STAINS[slide.stain]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.OpticalPathDescription = (
        f"IHC {slide.stain}, DAB, haematoxylin" if stain.antibody else "Brightfield H&E"
    )
    path.IlluminationTypeCodeSequence = [code_item(_BRIGHTFIELD)]
    path.IlluminationColorCodeSequence = [code_item(_FULL_SPECTRUM)]
    path.ObjectiveLensPower, path.ObjectiveLensNumericalAperture = "20", "0.75"
    path.ICCProfile, path.ColorSpace = _srgb(), "SRGB"
    made.OpticalPathSequence = [path]


@cache
def _srgb() -> bytes:
    """LittleCMS's sRGB as an input device's profile (PS3.3 C.11.15.1.1), always of one date."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"scnr"
    profile[24:36] = b"".join(n.to_bytes(2, "big") for n in (1999, 10, 18, 0, 0, 0))
    profile[84:100] = bytes(16)  # a profile ID of the other date, if it has one
    return bytes(profile)


def _specimen(made: Dataset, slide: Slide) -> None:
    """Resection, block and section, with what was done to each (TID 8001)."""
    who, stain = slide.who, STAINS[slide.stain]
    case, organ = who.numbered("P"), ORGANS[slide.organ]
    made.ContainerIdentifier = slide.container
    made.IssuerOfTheContainerIdentifierSequence = [_issuer()]
    made.ContainerTypeCodeSequence = [code_item(_SLIDE)]
    specimen = Dataset()
    specimen.SpecimenIdentifier = slide.container
    specimen.SpecimenUID = who.uid("specimen", slide.container)
    specimen.IssuerOfTheSpecimenIdentifierSequence = [_issuer()]
    specimen.SpecimenTypeCodeSequence = [code_item(_SECTION)]
    specimen.SpecimenShortDescription = f"{slide.stain} {stain.chinese}"
    specimen.SpecimenDetailedDescription = f"{slide.block}, section {slide.section}, 4 um"
    specimen.PrimaryAnatomicStructureSequence = [code_item(organ)]
    collected, taken = ("17636008", "SCT", "specimen collection"), ("65801008", "SCT", "Excision")
    sampling = ("433465004", "SCT", "Sampling of tissue specimen")
    processing = ("9265001", "SCT", "Specimen processing")
    fixative = ("430864009", "SCT", "Tissue fixative")
    medium = ("430863003", "SCT", "Tissue embedding medium")
    specimen.SpecimenPreparationSequence = [
        _step(case, collected, (collected, taken)),
        _step(
            case, processing, (_STEP, "fixation"), (fixative, ("431510009", "SCT", "Formalin"))
        ),
        _step(
            slide.block, sampling,
            *_sampled(
                ("122459003", "SCT", "Dissection"), case, ("430861001", "SCT", "Gross specimen")
            ),
        ),
        _step(
            slide.block, processing, (_STEP, "embedding"),
            (medium, ("311731000", "SCT", "Paraffin wax")),
        ),
        _step(
            slide.container, sampling,
            *_sampled(
                ("434472006", "SCT", "Block sectioning"), slide.block,
                ("119376003", "SCT", "tissue specimen"),
            ),
        ),
        _step(slide.container, _STAINING, *_stained(stain)),
    ]  # fmt: skip
    made.SpecimenDescriptionSequence = [specimen]


def _stained(stain: Stain) -> list[tuple[_Code, str | _Code]]:
    """H&E by its two dyes; IHC by its method, the antibody in words, and the counterstain."""
    if not stain.antibody:
        return [(_SUBSTANCE, _HAEMATOXYLIN), (_SUBSTANCE, _EOSIN)]
    return [
        (_STEP, _IHC),
        (_SUBSTANCE, f"{stain.antibody} antibody, DAB"),
        (_SUBSTANCE, _HAEMATOXYLIN),
    ]


def _sampled(method: _Code, parent: str, kind: _Code) -> list[tuple[_Code, str | _Code]]:
    """TID 8004: how it was taken from what."""
    return [
        (("111704", "DCM", "Sampling Method"), method),
        (("111705", "DCM", "Parent Specimen Identifier"), parent),
        (("111706", "DCM", "Issuer of Parent Specimen Identifier"), AUTHORITY),
        (("111707", "DCM", "Parent specimen type"), kind),
    ]


def _step(specimen: str, kind: _Code, *content: tuple[_Code, str | _Code]) -> Dataset:
    said: list[tuple[_Code, str | _Code]] = [
        (_SPECIMEN_ID, specimen),
        (("111724", "DCM", "Issuer of Specimen Identifier"), AUTHORITY),
        (_PROCESSING_TYPE, kind),
    ]
    made = Dataset()
    made.SpecimenPreparationStepContentItemSequence = [
        _content(name, value) for name, value in (*said, *content)
    ]
    return made


def _content(name: _Code, value: str | _Code) -> Dataset:
    made = Dataset()
    made.ConceptNameCodeSequence = [code_item(name)]
    if isinstance(value, str):
        made.ValueType, made.TextValue = "TEXT", value
    else:
        made.ValueType, made.ConceptCodeSequence = "CODE", [code_item(value)]
    return made


def _issuer() -> Dataset:
    made = Dataset()
    made.LocalNamespaceEntityID = AUTHORITY
    return made
