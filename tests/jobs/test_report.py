"""The report of a real evaluation, from its run directory alone."""

import shutil
from pathlib import Path

import pytest

from dovision.jobs.hydra_main import report as main
from dovision.results.run_record import Run
from made_runs import report_of_sweep

FIGURES = ("average_effect_maps", "average_effects", "classes", "overlay")
OVERALL = ("results", "effect_against_epsilon")
TABLES = ("classes", "results")  # of which there is no picture
FORMS = ("csv", "pdf", "png", "svg")


def test_a_report_has_a_page_and_every_figure_in_every_form(fitted, tmp_path):
    copy = shutil.copytree(fitted / "evaluate", tmp_path / "evaluate")
    report_of_sweep(copy)
    folder = copy / "report"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    (run,) = [path.parent.name for path in copy.glob("*/run.json")]
    overall = {f"figures/{name}.{form}" for name in OVERALL for form in FORMS}
    own = {f"figures/{run}/{name}.{form}" for name in FIGURES for form in FORMS}
    pictures = {name for name in overall | own if Path(name).stem in TABLES and name.endswith(("pdf", "png", "svg"))}
    assert written == ({"index.html"} | overall | own) - pictures


@pytest.fixture
def failed(tmp_path) -> Path:
    """A sweep of one job, which failed."""
    run = Run(tmp_path / "runs" / "a")
    run.start({}, ["attack=pgd"], {})
    run.fail(MemoryError("too large"))
    return tmp_path / "runs"


def test_without_a_completed_run_the_page_lists_what_failed_in_a_folder_that_can_be_made(failed, tmp_path):
    text = report_of_sweep(failed).read_text()
    assert "MemoryError: too large" in text
    assert "No run is completed" in text
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"must be a folder that can be written to.*output=\.\.\."):
        report_of_sweep(failed, tmp_path / "file" / "report")


def test_the_command_prints_where_the_page_is(failed, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dovision-report", f"sweep={failed}", f"output={failed / 'out'}"])
    main()
    assert capsys.readouterr().out.strip() == str(failed / "out" / "index.html")
