"""LaTeX floats of figures and tables, with their captions."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pandas as pd

from dovision.io.text_files import write_text
from dovision.report.report_figure import ReportFigure
from dovision.report.style import WIDTHS

WIDE = 6  # columns from which a table spans both columns of a page
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # as it is, or as wide as there is room
SPOKEN: dict[str, str | int | None] = {
    **{sign: rf"\{sign}" for sign in "{}$&#%_"},
    "\\": r"\textbackslash{}",
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


def save_latex(report_figure: ReportFigure, folder: Path) -> None:
    """Write NAME.tex: a float of NAME.pdf, or of a table."""
    name, figure = report_figure.name, report_figure.figure
    if figure is not None:
        tex = latex_figure(name, report_figure.caption, figure.get_figwidth() > WIDTHS[0])
    else:
        tex = latex_table(pd.DataFrame(report_figure.table), report_figure.caption, name)
    write_text(folder / f"{name}.tex", tex)


def latex_table(table: pd.DataFrame, caption: str, label: str) -> str:
    """LaTeX float of a table; a group's name precedes its rows. Needs graphicx.

    Args:
        table: text, of one or several lines a cell; its index names the group of each row.
        caption: plain text.
        label: for \\ref, after "tab:".
    """
    count, body = len(table.columns), [r"\hline", _row(table.columns)]
    for group, rows in groupby(table.itertuples(name=None), key=lambda row: row[0]):
        body += [r"\hline", rf"\multicolumn{{{count}}}{{l}}{{\textbf{{{escaped(group)}}}}} \\"]
        body += [_row(cells) for _, *cells in rows]
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


def _float(environment: str, *lines: str) -> str:
    return "\n".join([rf"\begin{{{environment}}}", *lines, rf"\end{{{environment}}}", ""])


def _row(cells: Iterable[str]) -> str:
    several = r"\begin{tabular}[t]{@{}l@{}}%s\end{tabular}"
    texts = []
    for cell in cells:
        lines = [escaped(line) for line in cell.split("\n")]
        texts.append(lines[0] if len(lines) == 1 else several % r" \\ ".join(lines))
    return " & ".join(texts) + r" \\"
