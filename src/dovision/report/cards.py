"""Cards of findings: the sentence, the image that shows it, a strip of dots, one an image, and what is folded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from dovision.functional.geometry import grid_cell
from dovision.io import files, images
from dovision.report.image_overlay import OPAQUE
from dovision.report.inline_assets import picture_link, png_bytes
from dovision.results.display_names import component_name
from dovision.results.effect_findings import fill_of, grey_level
from dovision.results.finding import Finding, finer_text
from dovision.results.image_tables import AS_IS, LEAST, MAPS_FILE, MOST, RANDOM, read_grid
from dovision.results.run_record import Run
from dovision.results.sentences import GUESS
from dovision.results.tables import CLEAN, read_effects
from dovision.results.thumbnails import load_thumbnail, thumbnail_path
from dovision.types import Box

_CLEAR = 0.04  # of the largest evidence, below which a unit has no colour
_WIDTH, _DOT, _HIGH, _MARGIN = 620, 6, 84, 12  # pixels of a strip: its width, a dot, its highest pile, and beside it


@dataclass(frozen=True)
class Panel:
    """Image of a card, with its caption and the probability of the class there."""

    svg: Markup
    caption: str
    probability: str = ""
    label: str = ""


@dataclass(frozen=True)
class Card:
    """Finding as the page shows it."""

    finding: Finding
    panels: Sequence[Panel] = ()
    strip: str = ""  # of SVG


def card(finding: Finding, run: Run | None = None) -> Card:
    """Build the card of a finding; with pictures, if it is of a run that has them."""
    picture = finding.picture
    strip = dot_strip(finding) if len(finding.spread.get("subject", ())) > 1 else ""
    if picture.get("curve") and finding.verdict != GUESS:
        strip = curves(picture["curve"])
    if run is None or "sample" not in picture:
        return Card(finding, (), strip)
    drawn = (_mapped if "maps" in picture else _painted if picture["unit"] else _attacked)(run, picture)
    return Card(finding, drawn[:1] if finding.verdict == GUESS else drawn, strip)  # a guess has nothing to explain


def _painted(run: Run, picture: Mapping[str, Any]) -> list[Panel]:
    """The image, the evidence of its units, and the image with the unit painted."""
    sample, label, condition = picture["sample"], picture["label"], picture["condition"]
    link, shape = _saved(run, sample, condition)
    name = "image" if condition == CLEAN else "attacked image"
    before = Panel(_svg(link, shape, "", name), name, finer_text(picture["before"], ".2f"), label)
    rows = read_effects(run.folder, [sample])
    rows = rows[(rows["condition"] == condition) & (rows["class"] == label)].dropna(subset=list(Box._fields))
    rows = rows[(rows["bottom"] > rows["top"]) & (rows["right"] > rows["left"])]
    after = finer_text(picture["after"], ".2f")
    if not picture["painted"]:
        return [before, Panel(Markup(), f"without {picture['unit']}", after, label)]
    cells, limit = _evidence(-rows["effect"].to_numpy(float), rows.to_dict("records"))
    caption = f"evidence, up to {finer_text(limit, '.2f')}"
    evident = Panel(_svg(link, shape, cells, caption, "underlay"), caption)
    grey = grey_level(run)
    paint = 'fill="none"' if grey is None else f'fill="rgb({grey} {grey} {grey})"'
    caption = f"{fill_of(run) or 'set'} in the outline{'s' * (len(picture['painted']) > 1)}"
    caption += f", {picture['place']}" if picture.get("place") else ""
    boxes = [dict(zip(Box._fields, edges, strict=True)) for edges in picture["painted"]]
    frames = "".join(_rectangle(box, f'{paint} class="cut"') for box in boxes)
    if sigma := re.match(r"blur \(sigma ([\d.]+)\)", caption):
        name, whole = f"blur-{sample}", f'width="{shape[1]}" height="{shape[0]}"'
        clip = "".join(_rectangle(box, "") for box in boxes)
        blur = f'<filter id="{name}"><feGaussianBlur stdDeviation="{sigma[1]}" edgeMode="duplicate"/></filter>'
        blurred = f'<image href="{link}" {whole} filter="url(#{name})"/>'
        frames = f'{blur}<clipPath id="{name}-at">{clip}</clipPath><g clip-path="url(#{name}-at)">{blurred}</g>{frames}'
    return [before, evident, Panel(_svg(link, shape, frames, caption), caption, after, label)]


def _saved(run: Run, sample: int, condition: str) -> tuple[str, Sequence[int]]:
    """Link of a saved picture, and its shape."""
    path = thumbnail_path(run.folder, sample, condition)
    return picture_link(files.read_bytes(path, images.MAX_FILE_BYTES)), load_thumbnail(path).shape


def _evidence(sizes: npt.NDArray[np.float64], boxes: Sequence[Mapping[str, Any]]) -> tuple[str, float]:
    """Boxes as deep as their evidence, and the size of the deepest."""
    limit = max(float(sizes.max()), 1e-9)
    drawn = (
        _rectangle(box, f'class="evidence" fill-opacity="{OPAQUE * size / limit:.2f}"')
        for size, box in zip(sizes, boxes, strict=True)
        if size > _CLEAR * limit
    )
    return "".join(drawn), limit


def _mapped(run: Run, picture: Mapping[str, Any]) -> list[Panel]:
    """The image, and the maps of two explainers over it with their scores."""
    sample, label, grid = picture["sample"], picture["label"], read_grid(run.folder)
    link, shape = _saved(run, sample, CLEAN)
    maps = MAPS_FILE.read(run.folder, [sample])
    maps = maps[(maps["class"] == label) & (maps["variant"] == AS_IS)].set_index("explainer")["cells"]
    cells = range(grid.rows * grid.columns)
    boxes = [grid_cell((1, grid.height, grid.width), cell, grid.rows, grid.columns)._asdict() for cell in cells]
    panels = [Panel(_svg(link, shape, "", "image"), f"image, {label}")]
    for name, score in zip(picture["maps"], picture["scores"], strict=True):
        caption = f"{component_name(name)}, {finer_text(score, '.2f')}"
        panels.append(Panel(_svg(link, shape, _evidence(maps[name], boxes)[0], caption, "underlay"), caption))
    return panels


def _attacked(run: Run, picture: Mapping[str, Any]) -> list[Panel]:
    """The image, what the attack added, stronger, and the attacked image."""
    clean, attacked = (
        load_thumbnail(thumbnail_path(run.folder, picture["sample"], name)) for name in (CLEAN, picture["condition"])
    )
    added = attacked.astype(int) - clean
    times = 127 // max(1, int(np.abs(added).max()))
    captions = ("image", f"what was added, {times} times stronger", "attacked")
    pictures = (clean, (128 + times * added).astype(np.uint8), attacked)
    sizes = (finer_text(picture["before"], ".2f"), "", finer_text(picture["after"], ".2f"))
    return [
        Panel(
            _svg(picture_link(png_bytes(pixels)), pixels.shape, "", caption),
            caption,
            size,
            picture["label"] if size else "",
        )
        for pixels, caption, size in zip(pictures, captions, sizes, strict=True)
    ]


def _svg(link: str, shape: Sequence[int], drawn: str, label: str, look: str = "") -> Markup:
    height, width = shape[:2]
    image = f'<image href="{link}" width="{width}" height="{height}" class="{look}"/>'
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{image}{drawn}</svg>')


def _rectangle(row: Mapping[str, Any], look: str) -> str:
    top, left, bottom, right = (int(row[name]) for name in Box._fields)
    return f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" {look}/>'


def curves(curve: Mapping[str, Any]) -> Markup:
    """P over the number of cells that are painted together: of most evidence, of least, and in random draws."""
    high, right, cells = 110, _WIDTH - 130, [0, *curve["cells"]]
    x = _MARGIN + (right - _MARGIN) * np.sqrt(np.asarray(cells) / cells[-1])
    mean = np.mean(curve[RANDOM], axis=0).tolist()
    looks = [*((draw, "draw") for draw in curve[RANDOM]), (mean, "control"), (curve[LEAST], "least")]
    looks, drawn = [*looks, (curve[MOST], "subject")], []
    top = max(curve["before"], *(max(values) for values, _ in looks))
    for values, look in looks:
        y = 12 + high * (1 - np.asarray([curve["before"], *values]) / top)
        points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
        drawn.append(f'<polyline points="{points}" class="{look}"/>')
    for y, look in enumerate(("least", "control", "subject")):
        text = {"least": "least evidence", "control": "at random", "subject": "most evidence"}[look]
        drawn.append(f'<text x="{right + 8}" y="{high - 44 + 22 * y}" class="{look}">{text}</text>')
    at = curve["at"] + 1
    drawn.append(f'<line x1="{x[at]:.1f}" x2="{x[at]:.1f}" y1="12" y2="{12 + high}" class="axis"/>')
    drawn += [f'<text x="{x[n]:.1f}" y="{high + 26}" text-anchor="middle">{cells[n]}</text>' for n in (0, at, -1)]
    svg = f'<svg viewBox="0 0 {_WIDTH} {high + 30}" role="img" aria-label="P over cells">{"".join(drawn)}</svg>'
    caption = f"P, {finer_text(curve['before'], '.2f')} at first, after so many cells at once"
    return Markup(f'<figure class="strip">{svg}<figcaption>{caption}</figcaption></figure>')


def dot_strip(finding: Finding) -> Markup:
    """Dots of a finding's spread above a line, and of its control below it in grey, with their medians.

    A pile is one line of round dashes; of many images a dot stands for several.
    """
    values = {name: np.asarray(finding.spread[name], float) for name in ("subject", "control")}
    names = dict(zip(values, finding.spread["names"], strict=True))
    every = np.concatenate([*values.values(), [0.0]])
    least, most = every.min(), every.max()
    scale = (_WIDTH - 2 * _MARGIN) / ((most - least) or 1.0)
    piles = {name: np.unique(np.round((of - least) * scale / _DOT), return_counts=True) for name, of in values.items()}
    highest = max((int(counts.max()) for _, counts in piles.values() if len(counts)), default=1)
    form = "+.2f" if least < 0 else ".2f"
    per_dot = -(-highest * _DOT // _HIGH)  # images a dot
    high = {name: _DOT * -(-int(counts.max(initial=0)) // per_dot) for name, (_, counts) in piles.items()}
    base, drawn = 28 + high["subject"], []
    for name, (slots, counts) in piles.items():
        way = -1 if name == "subject" else 1
        for slot, count in zip(slots, counts, strict=True):
            x, start = _MARGIN + slot * _DOT, base + way * (_DOT / 2 + 2)
            end = start + way * (-(-int(count) // per_dot) - 1) * _DOT
            drawn.append(f'<line x1="{x:g}" x2="{x:g}" y1="{start:g}" y2="{end + way * 0.01:g}" class="dots {name}"/>')
        if len(values[name]):
            middle = float(np.median(values[name]))
            x, y = _MARGIN + (middle - least) * scale, (base + way * (high[name] + 6))
            text = f"{names[name]}: {finer_text(middle, form)}"
            anchor = "start" if x < _WIDTH / 3 else "end" if x > 2 * _WIDTH / 3 else "middle"
            drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{y}" class="median {name}"/>')
            at = f'x="{x:.1f}" y="{y - 3 if way < 0 else y + 14}" text-anchor="{anchor}"'
            drawn.append(f'<text {at} class="{name}">{escape(text)}</text>')
    bottom = base + high["control"] + 32
    zero = _MARGIN - least * scale
    drawn.append(f'<line x1="0" x2="{_WIDTH}" y1="{base}" y2="{base}" class="axis"/>')
    drawn.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="{base - 5}" y2="{base + 5}" class="axis"/>')
    ends = {_MARGIN: (least, "start"), _WIDTH - _MARGIN: (most, "end")}
    for x, (value, anchor) in ends.items():
        drawn.append(f'<text x="{x}" y="{bottom + 10}" text-anchor="{anchor}">{finer_text(value, form)}</text>')
    caption = escape(f"{finding.spread['axis']}; a dot is {'an image' if per_dot == 1 else f'{per_dot} images'}")
    size = f'viewBox="0 0 {_WIDTH} {bottom + 16}" role="img" aria-label="{escape(" and ".join(names.values()))}"'
    svg = f"<svg {size}>{''.join(drawn)}</svg>"
    return Markup(f'<figure class="strip">{svg}<figcaption>{caption}</figcaption></figure>')
