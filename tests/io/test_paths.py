"""Text that becomes a path never leads out of its folder."""

import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dovision.io import paths
from dovision.jobs.hydra_main import evaluate
from dovision.report.loggers import CSVLogger
from dovision.report.report_figure import ReportFigure, save_report_figure

OUTSIDE = [
    "../x", "../../x", "/x", "a/../../x", "..", ".", "", "a//b", "a/", "a\\..\\x", "a\0b", "a\nb", "C:x", " ", "a ",
]  # fmt: skip


@pytest.mark.parametrize("text", OUTSIDE)
def test_what_leads_out_is_refused(text):
    with pytest.raises(ValueError, match=r"name must be a name, .*got .*Choose one such as [\w.=-]+\."):
        paths.safe_relative_path("name", text)


@pytest.mark.parametrize("text", ["study", "study/first", "a b", "eps=0.1", "..a", "ä", ".hidden", "a.b", 7])
def test_what_stays_below_is_taken(text):
    assert paths.safe_relative_path("name", text) == str(text)


def test_the_names_of_files_figures_and_logs_have_no_folder(tmp_path):
    assert paths.file_name("name", "a b") == "a b"
    with pytest.raises(ValueError, match="name must be a name without /, got 'a/b'. Choose one such as a_b"):
        paths.file_name("name", "a/b")
    shown = ReportFigure("../x", "", "", Figure(), pd.DataFrame())
    with pytest.raises(ValueError, match=r"the name of a figure must be a name without /, got '\.\./x'"):
        save_report_figure(shown, tmp_path / "figures")
    with pytest.raises(ValueError, match=r"logger\.csv\.folder must be a name"):
        CSVLogger(str(tmp_path), "../x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "how"),
    [("../../x", ["-m", "seed=0,1"]), ("/tmp/x-of-a-test", ["dry_run=true"]), ("''", []), ("../../x", [])],
)
def test_the_name_of_a_study_stays_inside_the_output_root(tmp_path, run_command, capsys, monkeypatch, name, how):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert run_command(evaluate, *how, "dataset=digits", "output_root=out", f"name={name}") == 1
    message = capsys.readouterr().err
    assert re.search("name must (be a name, or several with / between, below its folder, got|not be empty)", message)
    assert "Traceback" not in message
    assert "full_key" not in message
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {path for path in left if not path.startswith("deep/er/out")} == {"deep", "deep/er"}
    assert not Path("/tmp/x-of-a-test").exists()
