"""Tables and figures in LaTeX: of all packages only graphicx, so that any class of document takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
        for number, (group, cells) in enumerate(self.rows):
            if number == 0 or self.rows[number - 1][0] != group:
                found.append(("group", [group]))
            found.append(("row", cells))
        return found


def latex_table(table: Ruled, caption: str, label: str) -> str:
    """A floating table with its caption; a group's name stands once, above its rows. Needs graphicx.

    Args:
        table: plain text; cells may have several lines.
        caption: plain text.
        label: for \\ref, after "tab:".
    """
    float_ = "table*" if len(table.heads) >= WIDE else "table"
    count = len(table.heads)
    body: list[str] = []
    for kind, cells in table.lines()[1:]:
        if kind == "row":
            body.append(_row([*cells, *[""] * (count - len(cells))]))
        else:
            body += [r"\hline"] if body else []
            body.append(rf"\multicolumn{{{count}}}{{l}}{{\textbf{{{escaped(cells[0])}}}}} \\")
    lines = [
        rf"\begin{{{float_}}}",
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
        rf"\end{{{float_}}}",
    ]
    return "\n".join(lines) + "\n"


def latex_figure(name: str, caption: str, wide: bool) -> str:
    """A floating figure with its caption, of the file NAME.pdf; `wide` ones span both columns. Needs graphicx."""
    float_ = "figure*" if wide else "figure"
    lines = [
        rf"\begin{{{float_}}}",
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{name}.pdf}}",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{fig:{name}}}",
        rf"\end{{{float_}}}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """The text as LaTeX shows it; line breaks become spaces."""
    return "".join(SPOKEN.get(letter, letter) for letter in " ".join(text.split()))


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(text: str) -> str:
    lines = [escaped(line) for line in text.split("\n")]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}l@{}}" + r" \\ ".join(lines) + r"\end{tabular}"
