"""LaTeX tables say what the text says, and nothing in the text is taken for a command."""

import re

import numpy as np
import pandas as pd
import pytest

from dovision.report.figures.effects import Effects
from dovision.report.figures.maps import Maps
from dovision.report.figures.results import Results
from dovision.report.report_figure import SPOKEN, escaped, latex_figure, latex_table, save_report_figure
from dovision.report.style import BestText, with_best
from dovision.results.run_record import read_sweep

TABLE = pd.DataFrame(
    {"condition": ["clean", "eps", "x\ny_"], "|expected effect| ↑": ["0.1 [0.0, 0.2]", "-", ""]},
    ["a_b", "a_b", "50 % & more"],
)


def test_a_table_has_its_rows_under_the_names_of_their_groups():
    assert latex_table(TABLE, "n = 40 images, 95% intervals.", "results").splitlines() == [
        r"\begin{table}",
        r"\caption{n = 40 images, 95\% intervals.}",
        r"\label{tab:results}",
        r"\centering",
        r"\scriptsize",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{ll}",
        r"\hline",
        r"condition & \textbar{}expected effect\textbar{} $\uparrow$ \\",
        r"\hline",
        r"\multicolumn{2}{l}{\textbf{a\_b}} \\",
        r"clean & 0.1 {[}0.0, 0.2{]} \\",
        r"eps & - \\",
        r"\hline",
        r"\multicolumn{2}{l}{\textbf{50 \% \& more}} \\",
        r"\begin{tabular}[t]{@{}l@{}}x \\ y\_\end{tabular} &  \\",
        r"\hline",
        r"\end{tabular}}",
        r"\end{table}",
    ]


def test_a_table_of_many_columns_spans_the_page():
    text = latex_table(pd.DataFrame([list("abcdef")], ["g"], list("abcdef")), "", "wide")
    assert text.startswith(r"\begin{table*}")
    assert text.endswith("\\end{table*}\n")


def test_no_special_character_is_left_bare():
    text = escaped("".join(SPOKEN) + "\n\t end")
    for spoken in sorted(SPOKEN.values(), key=len, reverse=True):
        text = text.replace(spoken, "")
    assert not re.search(r"[\\{}$&#%_~^<>|\"\[\]]", text)
    assert text.strip() == "end"


@pytest.mark.slow
def test_the_tables_of_sweeps_and_maps_are_set_and_fit_the_page(sweep, map_run, typeset):
    completed = [run for run in read_sweep(sweep) if run.state == "completed"]
    report_figures = [*Results(0).of_sweep(completed), *Maps(0, 4).of_run(*read_sweep(map_run))]
    tables = {
        one.name: latex_table(one.table, one.caption, one.name) for one in report_figures if one.table is not None
    }
    assert list(tables) == ["results", "classifier_quality", "map_scores"]
    assert "Overfull" not in typeset(*tables.values())


@pytest.mark.slow
def test_a_figure_and_every_special_character_are_set(sweep, typeset, tmp_path):
    figure, *_ = Effects(0, 3, 3, 1).of_run(read_sweep(sweep)[0])
    save_report_figure(figure, tmp_path)
    typeset(latex_figure(figure.name, "".join(SPOKEN), wide=True), (tmp_path / f"{figure.name}.tex").read_text())


@pytest.mark.parametrize(
    ("low", "high", "bold"),
    [
        ((0.85, 0.6), (0.95, 0.8), [True, False]),
        ((0.75, 0.6), (0.95, 0.8), [False, False]),  # they overlap
        ((0.8, 0.6), (0.95, 0.8), [False, False]),
        ((np.nan, 0.6), (np.nan, 0.8), [False, False]),  # without an interval
        ((0.85, np.nan), (0.95, np.nan), [False, False]),
        ((0.85, 0.6, np.nan), (0.95, 0.8, np.nan), [False, False, False]),  # one of two rivals has none
    ],
)
def test_the_best_is_bold_only_where_its_interval_is_above_the_others(low, high, bold):
    numbers, *ends = (pd.DataFrame({"PGD": values}) for values in ((0.9, 0.7, 0.6)[: len(low)], low, high))
    shown = with_best(numbers.astype(str), numbers, *ends)["PGD"]
    assert [isinstance(text, BestText) for text in shown] == bold
    absent = pd.DataFrame({"PGD": [np.nan]})  # a rival without a number is none
    shown = with_best(*(pd.concat([table, absent]) for table in (numbers.astype(str), numbers, *ends)))["PGD"]
    assert [isinstance(text, BestText) for text in shown] == [*bold, False]
    assert not any(isinstance(text, BestText) for text in with_best(numbers * 0, numbers * 0, *ends)["PGD"])  # equal
