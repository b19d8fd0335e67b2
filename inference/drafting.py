"""The beginning of a pack: what ONNX graphs tell of themselves, and TODO where only people know.

Source: model-rules 27.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference import drafting_images, listing, sources
from inference.errors import PackRefused
from inference.manifest import CT, FORMAT, MANIFEST, MOST_GRAPHS
from inference.session import Onnx, Port, Session
from inference.toml_table import OPEN

CARD = "card.md"
_MATRIX = 2  # axes of (patients, columns)
_MODALITIES = ("labs", "demographics")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ROLE = re.compile(r"[^a-z0-9]+")
_TAKEN = frozenset({*_MODALITIES, CT, sources.INPUTS})
_ID = re.compile(r"[a-z][a-z0-9_]*")


def begin(folder: Path, graphs: Sequence[Path], weights: Sequence[Path]) -> None:
    """Make a folder with the graphs, a pack.toml and a card.md.

    Args:
        folder: Must not be there; its name becomes the id.
        graphs: ONNX files in the order in which they run; the last one gives the result.
        weights: Files that hold weights of the last graph, named as it names them.

    Raises:
        PackRefused: the folder is there, its name is no id, or two files have one name.
        SessionRefused: a graph does not load.
        OSError: a file cannot be read or written.
    """
    if folder.exists():
        raise PackRefused(f"{folder.name} is there already")
    if not _ID.fullmatch(folder.name):
        raise PackRefused("the folder's name is no id: lower-case letters, digits, underscores")
    if not 1 <= len(graphs) <= MOST_GRAPHS:
        raise PackRefused(f"1 to {MOST_GRAPHS} graphs, one after the other")
    names = [file.name for file in (*graphs, *weights)]
    if len(set(names)) < len(names) or len({_role(file) for file in graphs}) < len(graphs):
        raise PackRefused("each graph and each file of weights needs a name of its own")
    external = {file.name: file.read_bytes for file in weights}
    loaded = []
    for n, file in enumerate(graphs):
        last = n == len(graphs) - 1
        onnx = Onnx(digest="", raw=file.read_bytes(), external=external if last else {})
        loaded.append((file.name, _role(file), Session(file.name, onnx)))
    folder.mkdir(parents=True)
    for file in (*graphs, *weights):
        shutil.copyfile(file, folder / file.name)
    folder.joinpath(CARD).write_text(_card(folder.name), encoding="utf-8")
    text = "\n".join(_manifest(folder.name, loaded, list(external)))
    folder.joinpath(MANIFEST).write_text(text + listing.files(folder), encoding="utf-8")


def open_ends(folder: Path) -> Iterator[str]:
    """Every line that still says TODO, by file and number.

    Raises:
        PackRefused: a file is not UTF-8.
    """
    for name in (MANIFEST, CARD):
        file = folder / name
        lines = listing.read_text(file).splitlines() if file.is_file() else []
        for number, line in enumerate(lines, 1):
            if OPEN in line:
                yield f"{name}:{number}: {line.strip()}"


def _quoted(value: Any) -> str:
    """Text, or a list of texts, as TOML: JSON's way, but for characters that it splits in two."""
    return json.dumps(value, ensure_ascii=False)


def _role(file: Path) -> str:
    """A role of the file's name, which the manifest has for nothing else."""
    role = _ROLE.sub("_", file.stem.lower()).strip("_")
    return role if role[:1].isalpha() and role not in _TAKEN else f"graph_{role}".strip("_")


def _manifest(
    name: str, loaded: Sequence[tuple[str, str, Session]], external: Sequence[str]
) -> Iterator[str]:
    first, last = loaded[0][2], loaded[-1][2]
    images = drafting_images.read(loaded)
    ids = _columns(first) if len(loaded) == 1 and not images.modalities else []
    hints = [
        {name: images.words(role, port, loaded[:n]) for name, port in session.inputs.items()}
        for n, (_, role, session) in enumerate(loaded)
    ]
    numbers = not images.modalities or images.reads_numbers(loaded)
    yield from _protocol(name, images.modalities, numbers=numbers, ids=ids)
    yield from drafting_images.tables(images)
    for n, (file, role, session) in enumerate(loaded):
        yield from ("", "[[graphs]]", f'role = "{role}"', f"file = {_quoted(file)}")
        if external and session is last:
            yield f"external = {_quoted(external)}"
        yield from ("", "[graphs.feeds]")
        for port, shape in session.inputs.items():
            fed = _source(port, shape, ids, hints[n][port] if images.modalities else [], n > 0)
            yield f"{_quoted(port)} = {fed}"
    yield from _result(loaded[-1][1], last.outputs)


def _columns(session: Session) -> list[str]:
    """Ids of inputs: the graph's own names, or one to be named for each column of its table."""
    ports = session.inputs
    if all(port.shape[1:] == (1,) and _PLAIN.fullmatch(name) for name, port in ports.items()):
        return list(ports)
    width = next(iter(ports.values())).shape[1:]
    if len(ports) == 1 and len(width) == 1 and width[0] is not None:
        return [f"{OPEN}_{n}" for n in range(1, width[0] + 1)]
    return []


def _source(name: str, port: Port, ids: Sequence[str], words: Sequence[str], above: bool) -> str:
    if name in ids:
        return f'"inputs.{name}"'
    if ids and port.shape[1:] == (len(ids),):
        return '"labs.values"'
    # A row of numbers may be of anything; what has axes of its own is told by them.
    if len(words) == 1 and len(port.shape) > _MATRIX:
        return f'"{words[0]}"'
    if words:
        return _quoted(f"{OPEN}: {' or '.join(words)}, or a source of shape {list(port.shape)}")
    hint = "ROLE.OUTPUT of a graph above, or a source" if above else "a source"
    return f'"{OPEN}: {hint} as in packs/README.md, for shape {list(port.shape)}"'


_RULE_OF_NUMBERS = f"""\
[[rules]]
id = "complete"
scope = "predict"
test = "inputs"
inputs = {{ids}}
text = "Everything that the model needs is there"
source = "{OPEN}: where the protocol says so"
"""
_RULE_OF_IMAGES = f"""\
[[rules]]
id = "age"
scope = "predict"
test = "age"
years = "{OPEN}: [lowest, highest]"
text = "{OPEN}: that in words"
source = "{OPEN}: where the protocol says so"
"""
_TRIGGERS = {
    "observation": f"""\
[[triggers]]
on = "observation"
codes = ["{OPEN}: LOINC code whose arrival starts an assessment"]""",
    CT: """\
[[triggers]]
on = "imaging_study"
modality = "CT\"""",
    "slides": """\
[[triggers]]
on = "imaging_study"
modality = "SM\"""",
}


def _protocol(
    name: str, images: Sequence[str], *, numbers: bool, ids: Sequence[str]
) -> Iterator[str]:
    modalities = (*images, *(_MODALITIES if numbers else ()))
    yield f"""\
# Begun by `oncord pack init`. The meaning of every key is in inference/packs/README.md.
# `oncord pack check` names every line that people have to write.

format = {FORMAT}

[pack]
id = "{name}"
version = "0.1.0"
title = "{OPEN}: what it predicts, as a clinician would say it"
study = "{OPEN}: registry number of the study"
question = "{OPEN}: one-word-name of the question"
intended_use = "{OPEN}"
not_for = "{OPEN}"
licence = "{OPEN}: SPDX identifier"
modalities = {_quoted(modalities)}

# t0: the moment of the assessment, or the newest study or procedure.
[index]
on = "assessment"
text = "the moment of the assessment"

[lock]
days = 0

[training_data]
kind = "{OPEN}: clinical, or synthetic (then with generator and seed)"
words = "{OPEN}: on whom it was trained, and what its figures are worth"

{_RULE_OF_NUMBERS.format(ids=_quoted(list(ids) or [OPEN])) if numbers else _RULE_OF_IMAGES}
{_TRIGGERS["observation" if numbers else CT if CT in images else "slides"]}
text = "{OPEN}: that event in words"
"""
    for one in (ids or [OPEN]) if numbers else ():
        yield f"""\
[[inputs]]
id = "{one}"
kind = "quantity"
modality = "labs"
display = "{OPEN}: name for people"
required = true
codes = ["{OPEN}: LOINC code"]
unit = "{OPEN}: UCUM unit in which the model was trained"
plausible = "{OPEN}: [lowest, highest] that can be true"
window_days = [-30, 0]
transform = "identity"
"""


def _result(role: str, outputs: Mapping[str, Port]) -> Iterator[str]:
    """The head, as far as names and shapes tell it."""
    numbers = {name: port for name, port in outputs.items() if port.real}
    matrices = {n: p for n, p in numbers.items() if len(p.shape) == _MATRIX}
    classes = {n: p for n, p in matrices.items() if p.shape[1] != 1}
    output = next(iter(classes or numbers), OPEN)
    kind = "probabilities" if classes else "logit"
    if numbers and len(numbers[output].shape) > _MATRIX:
        kind = f"{OPEN}: hazards or additive_logit, with their other keys"
    width = (classes[output].shape[1] if classes else None) or 2
    yield f"""
[head]
graph = "{role}"
kind = "{kind}"
output = {_quoted(output)}
"""
    for n in range(width):
        yield f"""\
[[outputs]]
code = "{OPEN}: class-{n}"
system = "{OPEN}: system of the code, a URI"
display = "{OPEN}: class of column {n}, for people"
positive = {"true" if n == width - 1 else "false"}
"""
    yield f"""\
[tiers]
threshold = "{OPEN}: probability that was locked before the test set was opened"
below = "lower"
above = "higher"
locked = "{OPEN}: how, on which data and when"

# Or method = "platt" with slope and intercept, fitted on data that trained nothing.
[calibration]
method = "author"
words = "{OPEN}: how the graph's figures were calibrated, and on whom"
"""


def _card(name: str) -> str:
    return f"# {name}\n\n{OPEN}: what was measured, with intervals, beside which baselines.\n"
