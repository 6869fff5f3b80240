"""No cell of a CSV file that is written for people is a formula, and numbers stay numbers."""

from __future__ import annotations

import ast
import base64
import csv
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import dovision
from dovision.findings import sweep_summary
from dovision.findings.sweep_summary import Ended
from dovision.report.page import Shown
from dovision.report.report_figure import ReportFigure, save_report_figure
from dovision.store.spreadsheet import FORMULA, as_text, guarded
from dovision.tracking.csv_logger import CSVLogger

FORMULAS = ["=1+1", '=HYPERLINK("http://x","y")', "+SUM(A1)", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_begins_like_a_formula_gets_an_apostrophe(text):
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", "-", "", "a=b", "eps=0.1", "x-y", -0.5, 3, None, True])
def test_what_is_none_stays_as_it_is(value):
    assert as_text(value) is value


def test_columns_of_text_and_their_names_are_guarded_and_numbers_are_not():
    table = pd.DataFrame({"=n": [-0.5, 1.0], "name": ["@a", "b"], "kind": pd.Categorical(["+x", "+x"]), "n": [-1, 2]})
    found = guarded(table)
    assert list(found) == ["'=n", "name", "kind", "n"]
    assert found.to_csv(index=False) == "'=n,name,kind,n\n-0.5,'@a,'+x,-1\n1.0,b,'+x,2\n"
    assert list(table) == ["=n", "name", "kind", "n"]


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(text.splitlines()) for cell in row]


def test_a_figures_numbers_and_the_pages_link_are_guarded(tmp_path):
    data = pd.DataFrame({"class": FORMULAS[:5], "effect": [-0.5] * 5})
    figure = ReportFigure("a", "", "", Figure(), data)
    shown = Shown.of(figure, save_report_figure(figure, tmp_path))
    for text in ((tmp_path / "a.csv").read_text(), base64.b64decode(shown.csv.partition(",")[2]).decode()):
        assert [cell for cell in cells(text) if cell.startswith(FORMULA)] == ["-0.5"] * 5


def test_the_summary_of_a_sweep_is_guarded(tmp_path):
    job = Ended(0, ("=cmd()",), "failed", None, "-x: @y", tmp_path, "", {})
    sweep_summary.write_sweep_summary(tmp_path, "dovision-evaluate", [job])
    found = cells((tmp_path / "sweep_summary.csv").read_text())
    assert {"'=cmd()", "'-x: @y"} <= set(found)
    assert not [cell for cell in found if cell.startswith(FORMULA)]


def test_names_of_logged_metrics_are_guarded(tmp_path):
    logger = CSVLogger(str(tmp_path), "csv")
    logger.log_metrics({"=1+1": -0.5}, step=0)
    logger.finalize("success")
    assert (tmp_path / "csv" / "metrics.csv").read_text().splitlines() == ["'=1+1,step", "-0.5,0"]


def test_no_other_table_is_written_as_csv():
    """Each call of to_csv is of a guarded table; but those of datasets, which are only hashed."""
    package, found = Path(dovision.__file__).parent, []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "to_csv":
                if ast.unparse(node.func.value).startswith("guarded("):
                    continue
                found.append(path.relative_to(package).as_posix())
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("csv.writer", "csv.DictWriter"):
                found.append(f"{path.relative_to(package).as_posix()}: writer")
    hashed = [f"datasets/{name}.py" for name in ("funnybirds", "readers/file_images") for _ in range(2)]
    sent = ["tracking/csv_logger.py: writer", "tracking/mlflow_logger.py"]  # of guarded rows, and of numbers by name
    answers = "view/study.py: writer"  # whose words are guarded one by one
    assert sorted(found) == [*hashed, *sent, answers]
