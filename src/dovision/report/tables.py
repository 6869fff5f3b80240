"""Tables as figures and in LaTeX, which needs no package but graphicx, so that any class of document takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.report.style import INK, LINE, SMALL, BestText, styled

DRAWN = 100  # rows of a table that its figure has; its CSV and its LaTeX have all
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
    """A table as a figure, of its first rows if there are many.

    Args:
        table: text, of one or several lines a cell; its index names the group of each row.
    """
    lines = [("head", table.columns), *_lines(table.iloc[:DRAWN])]
    wide = [max(len(line) for cell in [head, *table[head][:DRAWN]] for line in cell.split("\n")) for head in table]
    left = np.cumsum([0, *(0.058 * letters + 0.17 for letters in wide)])  # inches
    height = np.cumsum([0, *(0.06 + 0.15 * max(1 + cell.count("\n") for cell in cells) for _, cells in lines)])
    figure = Figure(figsize=(float(left[-1]), float(height[-1])))
    axes = figure.add_axes((0.005, 0, 0.99, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, left[-1]), ylim=(height[-1], 0))
    for top, bottom, (kind, cells) in zip(height, height[1:], lines, strict=False):
        for place, cell in zip(left, cells, strict=False):
            weight = "normal" if kind == "row" and not isinstance(cell, BestText) else "bold"
            axes.text(place, (top + bottom) / 2, cell, fontsize=SMALL, va="center", weight=weight, linespacing=1.15)
    axes.hlines([0.01, height[1], height[-1] - 0.01], 0, left[-1], colors=[INK, LINE, INK], linewidth=0.9)
    return figure


def latex_table(table: pd.DataFrame, caption: str, label: str) -> str:
    """A floating table with its caption; a group's name stands once, above its rows. Needs graphicx.

    Args:
        table: as of `table_figure`.
        caption: plain text.
        label: for \\ref, after "tab:".
    """
    count, body = len(table.columns), [r"\hline", _row(table.columns)]
    for kind, cells in _lines(table):
        if kind == "group":
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
    """A floating figure with its caption, of the file NAME.pdf; `wide` ones span both columns. Needs graphicx."""
    picture = rf"\includegraphics[width=\linewidth]{{{name}.pdf}}"
    words = rf"\caption{{{escaped(caption)}}}", rf"\label{{fig:{name}}}"
    return _float("figure*" if wide else "figure", r"\centering", picture, *words)


def escaped(text: str) -> str:
    """The text as LaTeX shows it; line breaks become spaces."""
    return " ".join(text.split()).translate(str.maketrans(SPOKEN))


def _lines(table: pd.DataFrame) -> Iterator[tuple[str, Sequence[str]]]:
    """("row", cells) of each row, with ("group", [name]) above the rows of each group."""
    for group, rows in groupby(table.itertuples(name=None), key=lambda row: row[0]):
        yield "group", [group]
        yield from (("row", cells) for _, *cells in rows)


def _float(kind: str, *lines: str) -> str:
    return "\n".join([rf"\begin{{{kind}}}", *lines, rf"\end{{{kind}}}", ""])


def _row(cells: Iterable[str]) -> str:
    lines = [[_set(line, isinstance(cell, BestText)) for line in cell.split("\n")] for cell in cells]
    several = r"\begin{tabular}[t]{@{}l@{}}%s\end{tabular}"
    return " & ".join(own[0] if len(own) == 1 else several % r" \\ ".join(own) for own in lines) + r" \\"


def _set(line: str, bold: bool) -> str:
    return rf"\textbf{{{escaped(line)}}}" if bold else escaped(line)
