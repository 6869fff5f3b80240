"""Tables as figures and in LaTeX, which needs no package but graphicx, so that any class of document takes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dovision.report.style import INK, LINE, styled

DRAWN = 100  # rows of a table that its figure has; its CSV and its LaTeX have all
WIDE = 6  # columns from which a table spans both columns of a page
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # as it is, or as wide as there is room
SPOKEN = {
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


class Ruled(NamedTuple):
    """A table: its heads, and its rows, each with the name of the group that it stands in."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]

    def lines(self) -> list[tuple[str, Sequence[str]]]:
        """Line by line: ("head", heads), and ("row", cells), with ("group", [name]) above the rows of each group."""
        found: list[tuple[str, Sequence[str]]] = [("head", self.heads)]
        for group, rows in groupby(self.rows, key=itemgetter(0)):
            found += [("group", [group]), *(("row", cells) for _, cells in rows)]
        return found


@styled
def table_figure(table: Ruled) -> Figure:
    """A table as a figure, of its first rows if there are many; cells may have several lines."""
    lines = table._replace(rows=table.rows[:DRAWN]).lines()
    columns = zip_longest(*(cells for kind, cells in lines if kind != "group"), fillvalue="")
    wide = [max(len(line) for cell in cells for line in cell.split("\n")) for cells in columns]
    left = np.cumsum([0, *(0.062 * letters + 0.18 for letters in wide)])  # inches
    height = np.cumsum([0, *(0.06 + 0.15 * max(1 + cell.count("\n") for cell in cells) for _, cells in lines)])
    figure = Figure(figsize=(float(left[-1]), float(height[-1])))
    axes = figure.add_axes((0.005, 0, 0.99, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, left[-1]), ylim=(height[-1], 0))
    for top, bottom, (kind, cells) in zip(height, height[1:], lines, strict=False):
        for place, cell in zip(left, cells, strict=False):
            weight = "normal" if kind == "row" else "bold"
            axes.text(place, (top + bottom) / 2, cell, fontsize=7.5, va="center", weight=weight, linespacing=1.15)
    axes.hlines([0.01, height[1], height[-1] - 0.01], 0, left[-1], colors=[INK, LINE, INK], linewidth=0.9)
    return figure


def latex_table(table: Ruled, caption: str, label: str) -> str:
    """A floating table with its caption; a group's name stands once, above its rows. Needs graphicx.

    Args:
        table: plain text; cells may have several lines.
        caption: plain text.
        label: for \\ref, after "tab:".
    """
    count = len(table.heads)
    body: list[str] = []
    for kind, cells in table.lines()[1:]:
        if kind == "row":
            body.append(_row([*cells, *[""] * (count - len(cells))]))
        else:
            body += [r"\hline"] if body else []
            body.append(rf"\multicolumn{{{count}}}{{l}}{{\textbf{{{escaped(cells[0])}}}}} \\")
    return _float(
        "table*" if count >= WIDE else "table",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\centering",
        r"\scriptsize",
        _FITTED,
        rf"\begin{{tabular}}{{{'l' * count}}}",
        r"\hline",
        _row(table.heads),
        r"\hline",
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
    return "".join(SPOKEN.get(letter, letter) for letter in " ".join(text.split()))


def _float(kind: str, *lines: str) -> str:
    return "\n".join([rf"\begin{{{kind}}}", *lines, rf"\end{{{kind}}}", ""])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(text: str) -> str:
    lines = [escaped(line) for line in text.split("\n")]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}l@{}}" + r" \\ ".join(lines) + r"\end{tabular}"
