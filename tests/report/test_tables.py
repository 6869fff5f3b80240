"""LaTeX tables say what the text says, and nothing in the text is taken for a command."""

import re

import numpy as np
import pandas as pd
import pytest

from dovision.report.figures.maps import Maps
from dovision.report.figures.results import Results
from dovision.report.report_figure import save_report_figure
from dovision.report.style import WIDTHS, BestText, page_width, with_best
from dovision.report.tables import SPOKEN, escaped, latex_figure, latex_table, table_figure
from dovision.store.run_record import read_sweep

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


@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_of_a_wide_and_long_table_has_a_width_for_print_and_a_page_of_rows(width):
    cells = [["a name of a detector", *["0.123 [0.100, 0.150]"] * 6] for _ in range(60)]
    with page_width(width):
        figure = table_figure(pd.DataFrame(cells, ["group"] * 60, ["name", *(f"metric {n}" for n in range(6))]))
    assert figure.get_figwidth() == width
    assert figure.get_figheight() <= 9.5
    written = [text.get_text() for text in figure.axes[0].texts]
    assert {f"metric {n}" for n in range(6)} <= set(written)
    assert written[-1].endswith("more rows in the files .csv and .tex of this name")
    figure.draw_without_rendering()
    assert max(text.get_window_extent().x1 for text in figure.axes[0].texts) <= 1.02 * width * figure.dpi


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
    report_figure, _ = Results(0).of_sweep(read_sweep(sweep)[:1])
    save_report_figure(report_figure, tmp_path)
    typeset(latex_figure(report_figure.name, "".join(SPOKEN), wide=True), (tmp_path / "results.tex").read_text())


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
