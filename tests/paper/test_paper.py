"""`python -m paper` on a small sweep: it draws, locks, compares, and names what it could not draw."""

import json
import shutil
from pathlib import Path

import pytest

from made_runs import edit_config, seal
from paper import sources
from paper.__main__ import main

FORMS = ("csv", "pdf", "png", "svg", "tex")
FEW = ("framework", "average_effects", "bench_ratios")


@pytest.fixture
def run(monkeypatch, tmp_path, fitted, capsys):
    """Runs the command on a copy of the digits' evaluation, as if it were phantom_grid; returns (code, out, err)."""
    outputs = tmp_path / "outputs"
    shutil.copytree(fitted / "evaluate", outputs / "phantom_grid")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paper.__main__.FIGURES", {name: sources.FIGURES[name] for name in FEW})

    def command(*words: str) -> tuple[int, str, str]:
        sources.report_of.cache_clear()
        code = main(["--lock", "figures.lock", *words])
        return (code, *capsys.readouterr())

    return command


def test_figures_are_drawn_in_every_form_and_locked(run, tmp_path):
    code, out, _ = run()
    assert code == 0
    drawn = {path.name for path in (tmp_path / "outputs" / "figures").iterdir()}
    assert drawn == {f"{name}.{form}" for name in ("framework", "average_effects") for form in FORMS}
    assert "not drawn: bench_ratios: outputs/bench/table.csv must be the table of the benchmark" in out
    assert list(json.loads((tmp_path / "figures.lock").read_text())["figures"]) == ["average_effects", "framework"]
    first = {path.name: path.read_bytes() for path in (tmp_path / "outputs" / "figures").iterdir()}
    assert run()[0] == 0
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "outputs" / "figures").iterdir()}


@pytest.mark.usefixtures("svg_only")
def test_a_comparison_names_which_figure_changed_and_why(run, tmp_path):
    code, _, err = run("--check")
    assert code == 1
    assert "the lock must hold figures, got none. Run make figures." in err
    run()
    asked = ("framework", "average_effects")
    code, out, _ = run("--check", *asked)
    assert (code, out.strip()) == (0, "2 figures are as they were locked")
    code, _, err = run("--check")
    assert code == 1
    assert "1 could not be drawn: bench_ratios (" in err  # which has no table here
    (folder,) = (path.parent for path in (tmp_path / "outputs").rglob("run.json"))
    other = "dovision.models.other.Other"  # which the caption names
    edit_config(folder, lambda config: config["model"].update(_target_=other))
    seal(folder)
    code, _, err = run("--check", *asked)
    assert code == 1
    assert "1 of the locked figures differ: average_effects (" in err


def test_a_figure_asked_for_by_name_that_cannot_be_drawn_is_an_error_and_leaves_no_lock(run):
    code, out, err = run("bench_ratios", "--lock", "new.lock")
    assert (code, out) == (1, "")
    assert err.startswith("not drawn: bench_ratios: outputs/bench/table.csv must be the table of the benchmark")
    assert not Path("new.lock").exists()
