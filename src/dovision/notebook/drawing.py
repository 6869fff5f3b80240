"""Results of a notebook as pictures and HTML, drawn by what draws the page of a report."""

from __future__ import annotations

import base64
import functools
import html as html_text
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from dovision.report.image_overlay import OverlayPanel, draw_picture, overlay
from dovision.report.plots import draw_means, name_rows, panel_rows
from dovision.report.style import LINE, PAPER, SMALL, canvas, shortened, styled
from dovision.results.display_names import display_name
from dovision.results.finding import finer_text
from dovision.results.thumbnails import load_thumbnail, thumbnail_path
from dovision.types import BOX_COLUMNS

_ROWS = 10  # of a table in a notebook


def maps_over_images(image: Tensor, values: Tensor, titles: Sequence[str], label: str, colour: bool = False) -> Figure:
    """Draw images side by side, each under its map: warm, above 0, speaks for the class.

    Args:
        image: shape (B, C, H, W), in [0, 1]; of another number of channels than 1 or 3 their mean is shown.
        values: shape (B, H, W).
        titles: one an image.
        label: what the values are.
        colour: show the images in colour, and not in grey.
    """
    numbers = values.detach().cpu().double().numpy()
    none = pd.DataFrame(columns=BOX_COLUMNS)
    panels = [
        OverlayPanel(title, image_bytes(picture), over, none, {}, "", label)
        for title, picture, over in zip(titles, image, numbers, strict=False)
    ]
    return shown_in_notebooks(overlay(panels, float(abs(numbers).max()) or 1.0, colour))


def image_bytes(image: Tensor) -> npt.NDArray[np.uint8]:
    """Convert an image, (C, H, W) in [0, 1], to bytes, (H, W) or (H, W, 3); averages unusual channels."""
    shown = image if image.shape[0] in (1, 3) else image.mean(0, keepdim=True)
    values = (shown.detach().cpu().float() * 255).round().byte().permute(1, 2, 0).numpy()
    return values[..., 0] if values.shape[-1] == 1 else values


@styled
def pictures_by_condition(rows: pd.DataFrame, folder: Path, classes: Sequence[str]) -> Figure:
    """Draw a row of pictures per condition, with predictions; bold where the attack succeeded.

    Args:
        rows: of samples.parquet, of samples of which pictures are saved in each condition.
        folder: of the run.
        classes: their names.
    """
    conditions, samples = (list(dict.fromkeys(rows[name])) for name in ("condition", "sample"))
    figure = canvas(0.4 + 1.3 * len(samples), 1.6 * len(conditions), pictures=True)
    panels = figure.subplots(len(conditions), len(samples), squeeze=False)
    for row in rows.to_dict("records"):
        axes = panels[conditions.index(row["condition"]), samples.index(row["sample"])]
        picture = load_thumbnail(thumbnail_path(folder, row["sample"], row["condition"]))
        draw_picture(axes, picture)
        axes.set(xticks=[], yticks=[])
        predicted = f"{shortened(classes[int(row['prediction'])], 16)} ({finer_text(row['probability'], '.2f')})"
        axes.set_xlabel(predicted, fontsize=SMALL, weight="bold" if row["success"] is True else "normal")
    for axes, condition in zip(panels[:, 0], conditions, strict=True):
        axes.set_ylabel(display_name(condition), fontsize=SMALL)
    return figure


@styled
def difference_dots(rows: pd.DataFrame, label: str) -> Figure:
    """Draw differences with whiskers, a panel per metric, beside a zero line.

    Args:
        rows: columns panel, name, mean, low, high; nan draws no whisker.
        label: of x.
    """
    names = list(dict.fromkeys(rows["name"]))
    panels = list(dict.fromkeys(rows["panel"]))
    figure, drawn = panel_rows(panels, (textwrap.fill(label, 30), ""), (2.4, 0.7 + 0.22 * len(names)), sharey=True)
    for axes, panel in zip(drawn, panels, strict=True):
        shown = rows[rows["panel"] == panel]
        axes.axvline(0, color=LINE, linewidth=0.9)
        draw_means(axes, shown["name"].map(names.index), shown, 0, across=True)
        axes.grid(axis="x")
    name_rows(drawn[0], names)
    return shown_in_notebooks(figure)


def shown_in_notebooks(figure: Figure) -> Figure:
    """Make a figure display in notebooks without importing pyplot."""
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]  # IPython asks for it
    return figure


def html(text: str, figure: Figure | None, table: pd.DataFrame) -> str:
    """Self-contained HTML of sentences, a figure, and the first rows of a table.

    Args:
        text: plain, a paragraph a line.
        figure: None where there is none.
        table: of which the first rows are shown.
    """
    first, *more = (html_text.escape(line) for line in text.splitlines())
    paragraphs = "".join(f"<p>{line}</p>" for line in (first, *more))
    rows = table.head(_ROWS).to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    if len(table) > _ROWS:
        rows += f"<p>{_ROWS} of {len(table):,} rows; the whole table: .to_pandas()</p>"
    if figure is not None:
        source = base64.b64encode(_png(figure)).decode()
        paragraphs += f'<img alt="figure of {first}" src="data:image/png;base64,{source}">'
    return f"<div>{paragraphs}{rows}</div>"


def _png(figure: Figure) -> bytes:
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110, facecolor=PAPER, metadata={"Software": None})
    return held.getvalue()
