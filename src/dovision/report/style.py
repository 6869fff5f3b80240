"""The style of all figures, sized for print, and their saving: the same bytes for the same numbers."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import BboxBase

from dovision.io.atomic import replacing

INK = "#1f2430"  # text and axes; the page draws them in its own text colour
LINE = "#c8ccd4"  # grid lines; likewise
FAINT = "#8a92a0"  # what is there for comparison; legible on light and on dark
PAPER = "#ffffff"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # for the colour-blind (Okabe, Ito)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WARM, COOL = "#FFC425", "#001496"  # of evidence for and against the class: apart in hue for any eye, and in grey print
SIGN = "warm: evidence for the class, which do(unit) takes away; cool: evidence against it"  # the same in a map
WIDTHS = (3.25, 5.5, 6.75)  # inches: a column of two, the text of a page without columns, and both columns
PAGE = 9.0  # inches that a figure is high at most
TYPE, SMALL = 8, 7  # points in print: titles and labels; numbers of axes, legends, tables and notes

STYLE: Any = {
    "svg.hashsalt": "dovision",
    "svg.fonttype": "none",  # text stays text: it can be searched, and read out
    "pdf.fonttype": 42,  # likewise
    "text.parse_math": False,  # a class may be called $x$
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": TYPE,
    "axes.titlesize": TYPE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 300,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)

FORMS = {  # how figures are saved, and what is left out so that the same numbers give the same bytes
    "svg": ("Date", "Creator", "Format", "Type"),
    "pdf": ("CreationDate", "Creator", "Producer"),
    "png": ("Software",),
}
CSV: Any = {"index": False, "lineterminator": "\n", "float_format": "%.7g"}  # how numbers are written

styled = matplotlib.rc_context(STYLE)  # decorates a function that draws
_WIDEST: ContextVar[float] = ContextVar("page_width", default=WIDTHS[-1])


@contextmanager
def page_width(inches: float) -> Iterator[None]:
    """Limit the width of figures within the block.

    Raises:
        ValueError: `inches` is not one of WIDTHS.
    """
    if inches not in WIDTHS:
        raise ValueError(f"figure_width must be one of {', '.join(map(str, WIDTHS))} inches, got {inches!r}.")
    before = _WIDEST.set(inches)
    try:
        yield
    finally:
        _WIDEST.reset(before)


def width_for_print(width: float) -> float:
    """Smallest of WIDTHS, in inches, of at least this width, or else the page's."""
    most = _WIDEST.get()
    return min((inches for inches in WIDTHS if width <= inches <= most), default=most)


def canvas(width: float, height: float, pictures: bool = False) -> Figure:
    """Empty figure with the smallest of WIDTHS that fits its content.

    Args:
        width: that the content takes at best, in inches; what takes more than the page is narrowed.
        height: in inches.
        pictures: the content keeps its shape, so that the height follows the width.
    """
    high = height * width_for_print(width) / width if pictures else height
    return Figure(figsize=(width_for_print(width), high), layout="constrained")


def panels_across(width: float, margin: float = 0.5) -> int:
    """Number of panels of a width that fit side by side beside a margin, in inches."""
    return max(1, int((_WIDEST.get() - margin + 0.01) / width))


@styled
def wrap_text(figure: Figure) -> None:
    """Wrap long titles and labels, then fix the layout."""
    figure.draw_without_rendering()
    if any([_wrapped(axes, figure.bbox) for axes in figure.axes]):
        figure.draw_without_rendering()
        figure.draw_without_rendering()  # a second time, since higher titles leave less room to what was measured
    figure.set_layout_engine("none")  # the places are found; finding them again is slow


def _wrapped(axes: Axes, canvas: BboxBase) -> bool:
    """Wrap long texts of the axes; return whether any was wrapped."""
    room = axes.get_window_extent()
    broken = False
    for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label):  # type: ignore[attr-defined]
        box, upright = text.get_window_extent(), text is axes.yaxis.label
        least, most, length = (box.y0, box.y1, box.height) if upright else (box.x0, box.x1, box.width)
        space = room.height if upright else room.width
        out = least < canvas.y0 or most > (canvas.y1 if upright else canvas.x1)
        beyond = 1.05 if text in (axes.title, axes._left_title) else 1.15  # type: ignore[attr-defined]
        if text.get_text() and (out or length > beyond * space):
            letters = max(map(len, text.get_text().split("\n"))) * min(1.0, space / length)
            most_letters = max(8, int(letters))
            lines = []
            for line in text.get_text().split("\n"):  # broken between words; of a much longer word the end is left out
                words = (w if len(w) <= 1.3 * most_letters else shortened(w, most_letters) for w in line.split(" "))
                lines.append(textwrap.fill(" ".join(words), most_letters, break_long_words=False))
            text.set_text("\n".join(lines))
            broken = True
    return broken


@styled
def save_figure(
    figure: Figure | None, data: pd.DataFrame, folder: Path, name: str, forms: Collection[str] = tuple(FORMS)
) -> None:
    """Write name.FORM of these FORMS, if there is a figure, and name.csv, the numbers behind it, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if figure and forms:
        wrap_text(figure)
        for form in (form for form in FORMS if form in forms):
            with replacing(folder / f"{name}.{form}") as partial:
                figure.savefig(partial, format=form, metadata=dict.fromkeys(FORMS[form]))
    with replacing(folder / f"{name}.csv") as partial:
        data.to_csv(partial, **CSV)


def inline_svg(text: str, prefix: str) -> str:
    """Saved figure for inlining: no header, unique ids, and the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = text.replace(f"fill: {PAPER}", "fill: none")
    return text.replace(INK, "currentColor").replace(LINE, "var(--line)")


def shortened(text: str, length: int) -> str:
    """Truncate the text to `length`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shortened_apart(texts: Iterable[str], length: int) -> list[str]:
    """Truncate the texts; those that would coincide lose their common prefix first."""
    names = list(map(str, texts))
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        alike[shortened(name, length)].append(name)
    common: dict[str, int] = {}
    for several in alike.values():
        letters = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*several, strict=False))
        common |= dict.fromkeys(several, len(list(letters)) if len(several) > 1 else 0)
    return [shortened(f"…{name[common[name] :]}" if common[name] else name, length) for name in names]


def series(number: int) -> dict[str, Any]:
    """Look of series `number`; -1 is the clean condition, in the text's colour."""
    colour = INK if number < 0 else COLOURS[number % len(COLOURS)]
    dashes = ("-", "--", "-.", ":")[max(number, 0) // len(COLOURS) % 4]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.6 if number < 0 else 1.2}


def points(number: int) -> dict[str, Any]:
    """Marker and whiskers of series `number`."""
    return {"marker": MARKERS[number % len(MARKERS)], "markersize": 3.5, "elinewidth": 0.9, "capsize": 2}


def logarithmic(axes: Axes, which: str = "x", ticks: int = 6) -> None:
    """Make an axis, x or y, logarithmic, with a few plain numbers: powers would need mathtext, which is off."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high < 100 * low else (1.0,), numticks=ticks))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
