"""LaTeX tables say what the text says, and nothing in the text is taken for a command."""

import re

import pandas as pd
import pytest

from dovision.report.figures.effects import Effects
from dovision.report.figures.maps import Maps
from dovision.report.figures.results import Results
from dovision.report.report_figure import save_report_figure
from dovision.results.run_record import read_sweep
from paper.latex import SPOKEN, escaped, latex_figure, latex_table, save_latex

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
    report_figures = [*Results(0).of_sweep(completed), *Maps(0).of_run(*read_sweep(map_run))]
    tables = {
        one.name: latex_table(one.table, one.caption, one.name) for one in report_figures if one.table is not None
    }
    assert list(tables) == ["results", "map_scores"]
    assert "Overfull" not in typeset(*tables.values())


@pytest.mark.slow
def test_a_figure_and_every_special_character_are_set(sweep, typeset, tmp_path):
    figure, *_ = Effects(0, averages=3, maps=1).of_run(read_sweep(sweep)[0])
    save_report_figure(figure, tmp_path)
    save_latex(figure, tmp_path)
    typeset(latex_figure(figure.name, "".join(SPOKEN), wide=True), (tmp_path / f"{figure.name}.tex").read_text())
