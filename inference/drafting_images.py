"""What the shapes of graphs tell of the images that they read: drafts of [ct] and [[slides]].

A volume is (B, phases, D, H, W), a tile (B, 3, px, px), both with fixed edges; a graph above others
that gives a figure for each voxel finds the region of interest. Source: model-rules 27.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inference import fitting, sources
from inference.fitting import Shape
from inference.manifest import CT
from inference.session import Port, Session
from inference.toml_table import OPEN

_VOLUME_AXES, _ROW_AXES, _COLOURS = 5, 2, 3
_MOST_PHASES = 4
Loaded = Sequence[tuple[str, str, Session]]


@dataclass(frozen=True, slots=True)
class Drafted:
    """The images that graphs seem to read.

    Attributes:
        volume: (phases, D, H, W), or None.
        finder: Role and output of the graph that finds the region, and its grid; or None.
        tiles: Id of slides → edge of a tile.
        of: Role of a graph that runs on tiles → id of the slides.
        shapes: Word of `feeds` → its shape after the batch.
    """

    volume: tuple[int, ...] | None
    finder: tuple[str, str, tuple[int, ...]] | None
    tiles: Mapping[str, int]
    of: Mapping[str, str]
    shapes: Mapping[str, Shape]

    @property
    def modalities(self) -> tuple[str, ...]:
        """As `pack.modalities` names them."""
        return (*((CT,) if self.volume else ()), *self.tiles)

    def words(self, role: str, port: Port, above: Loaded) -> list[str]:
        """Sources of images, and outputs of graphs above, that an input has room for."""
        if role in self.of:
            return [f"{self.of[role]}.tiles"]
        if self.finder is not None and role == self.finder[0]:
            return [sources.OVERVIEW if len(port.shape) == _VOLUME_AXES else sources.PHASES]
        known = dict(self.shapes)
        for _, other, session in above:
            if self.finder is not None and other == self.finder[0]:
                continue
            bag: Shape = (None,) if other in self.of else ()
            for name, output in session.outputs.items():
                if output.real:
                    known[f"{other}.{name}"] = bag + output.shape[1:]
        return [word for word, shape in known.items() if _has_room(port.shape[1:], shape)]

    def reads_numbers(self, loaded: Loaded) -> bool:
        """Whether more rows of numbers are fed than images and graphs above can give."""
        asked = Counter(port.shape for _, _, s in loaded for port in s.inputs.values())
        for shape, ports in asked.items():
            if len(shape) <= _ROW_AXES and None not in shape[1:]:
                port = Port(None, shape)
                if len(self.words("", port, loaded[:-1])) < ports:
                    return True
        return False


def _has_room(wanted: Shape, given: Shape) -> bool:
    """A bag has as many tiles as there are: an input of a fixed width has no room for it."""
    return fitting.fits(given, wanted) and not any(
        have is None and want is not None for have, want in zip(given, wanted, strict=True)
    )


def read(loaded: Loaded) -> Drafted:
    """Look at every input of graphs in their order."""
    roles = {role for _, role, _ in loaded}
    volumes: list[tuple[int, ...]] = []
    finder = None
    tiles: dict[str, int] = {}
    of: dict[str, str] = {}
    for n, (_, role, session) in enumerate(loaded):
        for port in session.inputs.values():
            edges = tuple(n for n in port.shape[1:] if n is not None)
            if len(edges) + 1 < len(port.shape):
                continue
            if len(port.shape) == _VOLUME_AXES and edges[0] <= _MOST_PHASES:
                found = _found(session, edges[1:]) if n < len(loaded) - 1 else ""
                if found and finder is None:
                    finder = (role, found, edges[1:])
                else:
                    volumes.append(edges)
            elif len(edges) == _COLOURS and edges[0] == _COLOURS and edges[1] == edges[2]:
                of[role] = _id(role, {*roles, *tiles})
                tiles[of[role]] = edges[1]
    # Which of two grids is meant, people know.
    volume = volumes[0] if len(set(volumes)) == 1 else None
    return Drafted(volume, finder if volume else None, tiles, of, _shapes(volume, tiles))


def _found(session: Session, grid: tuple[int, ...]) -> str:
    """An output with a figure for each voxel of the grid, or nothing."""
    shapes = (grid, (1, *grid))
    return next((n for n, p in session.outputs.items() if p.real and p.shape[1:] in shapes), "")


def _id(role: str, taken: set[str]) -> str:
    named = role.removesuffix("_encoder")
    return next(one for one in (named, f"{named}_slides", f"{role}_slides") if one not in taken)


def _shapes(volume: tuple[int, ...] | None, tiles: Mapping[str, int]) -> dict[str, Shape]:
    made: dict[str, Shape] = {}
    if volume is not None:
        made |= {f"{CT}.volume": volume, sources.PHASES: volume[:1], f"{CT}.present": (1,)}
        made[f"{CT}.region"] = volume[1:]
    for one, edge in tiles.items():
        made |= {
            f"{one}.tiles": (_COLOURS, edge, edge),
            f"{one}.tile_mask": (None,),
            f"{one}.tile_position": (None, 3),
            f"{one}.present": (1,),
        }
    return made


def tables(found: Drafted) -> Iterator[str]:
    """[ct] and [[slides]], with what the shapes tell."""
    if found.volume is not None:
        phases, *grid = found.volume
        roi = f'"{OPEN}: centre of volume, or segmentation (then with segments)"'
        if found.finder is not None:
            roi = '"segmenter"'
        yield f"""\
[ct]
phases = ["{OPEN}: {phases} of NC, AP, PV, DL, in the order of the channels"]
required = ["{OPEN}: those that must be there; the grid is put around the last one"]
min_confidence = 0.5
grid = {grid}
spacing_mm = "{OPEN}: millimetres between voxels, along each axis of the grid"
orientation = "{OPEN}: where the axes lead; MONAI's and nibabel's arrays are RAS, stacks SPL"
resampling = "{OPEN}: linear or area"
hu_clip = "{OPEN}: [lowest, highest] HU"
intensity = "{OPEN}: hu or zscore"
roi = {roi}
without = "{OPEN}: left out or no result, of a patient without such a study"
"""
    if found.finder is not None:
        role, output, coarse = found.finder
        yield f"""\
[ct.segmenter]
role = "{role}"
output = {json.dumps(output)}
grid = {list(coarse)}
spacing_mm = "{OPEN}: millimetres between voxels of the coarse grid"
threshold = "{OPEN}: from which figure on a voxel is of the region"
"""
    for one, edge in found.tiles.items():
        yield f"""\
[[slides]]
id = "{one}"
stain = "{OPEN}: H&E, or the marker, such as CD3"
mpp = "{OPEN}: micrometres per pixel of a tile"
tile_px = {edge}
overlap_px = 0
tissue = "otsu of saturation"
tissue_mpp = 8.0
least_tissue = "{OPEN}: share of a tile that must be tissue, 0 to 1"
most_tiles = "{OPEN}: of all slides of the stain together"
normalisation = "{OPEN}: none, or macenko with reference_stains and reference_maxima"
without = "{OPEN}: left out or no result, of a patient without such a slide"
"""
