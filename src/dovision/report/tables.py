"""Tables as figures and in LaTeX, which needs no package but graphicx, so that any class of document takes them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.report.style import INK, LINE, PAGE, SMALL, BestText, shortened, styled, width_for_print

DRAWN = 100  # rows of a table that its figure has; its CSV and its LaTeX have all
_LETTER, _LINE, _GAP = 0.058, 0.125, 0.2  # inches of a letter, of a line, and below a block of columns
Inches = npt.NDArray[np.float64]
WIDE = 6  # columns from which a table spans both columns of a page
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # as it is, or as wide as there is room
SPOKEN: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after the end of a row it would be read as an argument
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "•": r"\textbullet{}",
    "…": r"\ldots{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


@styled
def table_figure(table: pd.DataFrame) -> Figure:
    """Draw a table at a print width, cut to its first rows if longer than a page.

    Where it is too wide, intervals stand below their estimates; where that does not do, its last columns stand below
    the others, with the first column before them once more.

    Args:
        table: text, of one or several lines a cell; its index names the group of each row.
    """
    shown = table.iloc[:DRAWN]
    if sum(_inches(shown)) > width_for_print(np.inf):
        shown = _broken(shown)
    while len(shown) > 1 and sum(sum(_heights(block)) + _GAP for block in _blocks(shown)) > PAGE:
        shown = shown.iloc[:-1]
    blocks = [(list(_inches(block)), [("head", block.columns), *_lines(block)]) for block in _blocks(shown)]
    width = width_for_print(max(sum(widths) for widths, _ in blocks))
    heights = [list(_heights(block)) for block in _blocks(shown)]
    figure = Figure(figsize=(width, sum(map(sum, heights)) + _GAP * len(blocks)))
    axes = figure.add_axes((0.005, 0, 0.99, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(figure.get_figheight(), 0))
    top = 0.0
    for (widths, lines), of_block in zip(blocks, heights, strict=True):
        _draw_block(axes, top + np.cumsum([0.0, *of_block]), np.cumsum([0.0, *widths[:-1]]), lines)
        top += sum(of_block) + _GAP
    if more := len(table) - len(shown):
        note = f"{more:,} more {'row' if more == 1 else 'rows'} in the files .csv and .tex of this name"
        axes.text(0, top - _GAP / 2, note, fontsize=SMALL, va="center")
    return figure


def _heights(table: pd.DataFrame) -> Iterator[float]:
    """Height of the head and of each line."""
    for _, cells in [("head", table.columns), *_lines(table)]:
        yield _LINE / 2 + _LINE * max(1 + cell.count("\n") for cell in cells)


def _draw_block(axes: Axes, edges: Inches, left: Inches, lines: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Draw lines of cells between top and bottom edges, in inches, from each cell's left edge."""
    width = axes.get_xlim()[1]
    for top, bottom, (line_kind, cells) in zip(edges, edges[1:], lines, strict=False):
        for x, cell in zip(left, cells, strict=False):
            weight = "normal" if line_kind == "row" and not isinstance(cell, BestText) else "bold"
            text = shortened(cell, int(width / (1.1 * _LETTER))) if line_kind == "group" else cell
            axes.text(x, (top + bottom) / 2, text, fontsize=SMALL, va="center", weight=weight, linespacing=1.15)
    axes.hlines([edges[0] + 0.01, edges[1], edges[-1] - 0.01], 0, width, colors=[INK, LINE, INK], linewidth=0.9)


def _inches(table: pd.DataFrame) -> Iterator[float]:
    """Width of each column."""
    for head in table:
        letters = max(len(line) for cell in [str(head), *table[head]] for line in cell.split("\n"))
        yield _LETTER * letters + 0.17


def _broken(table: pd.DataFrame) -> pd.DataFrame:
    """Put intervals below estimates, and wrap heads between words."""
    cells = pd.DataFrame(
        [[type(cell)(cell.replace(" [", "\n[")) for cell in row] for row in table.itertuples(index=False, name=None)],
        table.index,
        dtype=object,
    )
    longest = [max((len(line) for cell in cells[head] for line in cell.split("\n")), default=0) for head in cells]
    heads = [
        "\n".join(textwrap.fill(line, max(9, most), break_long_words=False) for line in str(head).split("\n"))
        for head, most in zip(table.columns, longest, strict=True)
    ]
    return cells.set_axis(heads, axis=1)


def _blocks(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Split columns into blocks that fit the page; later blocks repeat the first column."""
    widths, page = list(_inches(table)), width_for_print(np.inf)
    columns: list[int] = []
    for column, width in enumerate(widths):
        if columns[1:] and sum(widths[chosen] for chosen in columns) + width > page:
            yield table.iloc[:, columns]
            columns = [0]
        columns.append(column)
    yield table.iloc[:, columns]


def latex_table(table: pd.DataFrame, caption: str, label: str) -> str:
    """LaTeX float of a table; a group's name precedes its rows. Needs graphicx.

    Args:
        table: as of `table_figure`.
        caption: plain text.
        label: for \\ref, after "tab:".
    """
    count, body = len(table.columns), [r"\hline", _row(table.columns)]
    for line_kind, cells in _lines(table):
        if line_kind == "group":
            body += [r"\hline", rf"\multicolumn{{{count}}}{{l}}{{\textbf{{{escaped(cells[0])}}}}} \\"]
        else:
            body.append(_row(cells))
    return _float(
        "table*" if count >= WIDE else "table",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\centering",
        r"\scriptsize",
        _FITTED,
        rf"\begin{{tabular}}{{{'l' * count}}}",
        *body,
        r"\hline",
        r"\end{tabular}}",
    )


def latex_figure(name: str, caption: str, wide: bool) -> str:
    """LaTeX float of NAME.pdf; `wide` figures span both columns. Needs graphicx."""
    picture = rf"\includegraphics[width=\linewidth]{{{name}.pdf}}"
    words = rf"\caption{{{escaped(caption)}}}", rf"\label{{fig:{name}}}"
    return _float("figure*" if wide else "figure", r"\centering", picture, *words)


def escaped(text: str) -> str:
    """Escape text for LaTeX; line breaks become spaces."""
    return " ".join(text.split()).translate(str.maketrans(SPOKEN))


def _lines(table: pd.DataFrame) -> Iterator[tuple[str, Sequence[str]]]:
    """("row", cells) of each row, with ("group", [name]) before each group."""
    for group, rows in groupby(table.itertuples(name=None), key=lambda row: row[0]):
        yield "group", [group]
        yield from (("row", cells) for _, *cells in rows)


def _float(environment: str, *lines: str) -> str:
    return "\n".join([rf"\begin{{{environment}}}", *lines, rf"\end{{{environment}}}", ""])


def _row(cells: Iterable[str]) -> str:
    several = r"\begin{tabular}[t]{@{}l@{}}%s\end{tabular}"
    texts = []
    for cell in cells:
        lines = [escaped(line) for line in cell.split("\n")]
        if isinstance(cell, BestText):
            lines = [rf"\textbf{{{line}}}" for line in lines]
        texts.append(lines[0] if len(lines) == 1 else several % r" \\ ".join(lines))
    return " & ".join(texts) + r" \\"
