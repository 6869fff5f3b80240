"""dovision-figures on a small sweep: draws, locks, compares, and says what it could not draw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from dovision.cli.figures import main
from dovision.store.digests import digests
from dovision.store.run_directory import RunDirectory
from dovision.store.schemas import with_digest

CONF = Path(__file__).resolve().parents[2] / "conf"
FORMS = ("csv", "pdf", "png", "svg", "tex")


@pytest.fixture
def run(monkeypatch, tmp_path, fitted, capsys):
    """Runs the command on a copy of the digits' evaluation, as if it were phantom_grid; returns (code, out, err)."""
    outputs = tmp_path / "outputs"
    shutil.copytree(fitted / "evaluate", outputs / "phantom_grid")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def command(*overrides: str) -> tuple[int, str, str]:
        from dovision.report import figure_sources

        figure_sources._figures.cache_clear()
        figures = "figure=[framework,effect_distribution,bench_ratios]"
        monkeypatch.setattr("sys.argv", ["dovision-figures", figures, *overrides])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return command


def test_figures_are_drawn_in_every_form_and_locked(run, tmp_path):
    code, out, _ = run()
    assert code == 0
    drawn = {path.name for path in (tmp_path / "outputs" / "figures").iterdir()}
    assert drawn == {f"{name}.{form}" for name in ("framework", "effect_distribution") for form in FORMS}
    assert "not drawn: bench_ratios: outputs/bench/table.csv must be the table of the benchmark" in out
    assert list(json.loads((tmp_path / "figures.lock").read_text())["figures"]) == ["effect_distribution", "framework"]
    first = {path.name: path.read_bytes() for path in (tmp_path / "outputs" / "figures").iterdir()}
    assert run()[0] == 0
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "outputs" / "figures").iterdir()}


@pytest.mark.usefixtures("svg_only")
def test_a_comparison_names_which_figure_changed_and_why(run, tmp_path):
    code, _, err = run("check=true")
    assert code == 1
    assert "lock must be a file that holds figures, got figures.lock, which holds none. Run make figures." in err
    run()
    asked = "figure=[framework,effect_distribution]"
    code, out, _ = run("check=true", asked)
    assert (code, out.strip()) == (0, "2 figures are as they were locked")
    code, _, err = run("check=true")
    assert code == 1
    assert "1 of the locked figures differ: bench_ratios (" in err  # which has no table here
    (folder,) = (path.parent for path in (tmp_path / "outputs").rglob("run.json"))
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
    config["model"]["_target_"] = "dovision.models.other.Other"  # which the caption names
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    facts = RunDirectory(folder).facts() | {"digests": digests(folder)}
    (folder / "run.json").write_text(json.dumps(with_digest(facts)))
    code, _, err = run("check=true", asked)
    assert code == 1
    assert "1 of the locked figures differ: effect_distribution (" in err


@pytest.mark.usefixtures("svg_only")
def test_a_subset_keeps_the_entries_of_the_other_figures(run, tmp_path):
    run()
    before = json.loads((tmp_path / "figures.lock").read_text())
    assert run("figure=[framework]")[0] == 0
    assert json.loads((tmp_path / "figures.lock").read_text()) == before
    shutil.rmtree(tmp_path / "outputs" / "phantom_grid")
    code, out, _ = run("figure=[effect_distribution]")
    assert code == 0
    assert "not drawn: effect_distribution" in out
    assert json.loads((tmp_path / "figures.lock").read_text()) == before


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize("asked", ["figure=[]", "figure=[bench_ratios]"])
def test_a_comparison_of_nothing_fails(run, asked):
    run()
    code, _, err = run("check=true", asked)
    assert code == 1
    assert "a comparison needs a figure that can be drawn, got none" in err


@pytest.mark.usefixtures("svg_only")
def test_failed_unfinished_and_foreign_runs_are_passed_over(run, tmp_path):
    sweep = tmp_path / "outputs" / "phantom_grid"
    failed = RunDirectory(sweep / "failed")
    failed.start({}, [], {})
    failed.fail(MemoryError("too large"))
    RunDirectory(sweep / "unfinished").start({}, [], {})
    (sweep / "foreign").mkdir()
    (sweep / "foreign" / "run.json").write_text('{"state": "SUCCEEDED"}')
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "not drawn: effect_distribution" not in out


def test_a_damaged_run_is_an_error_that_says_what_to_do(run, tmp_path):
    (table,) = (tmp_path / "outputs").rglob("effects.parquet")
    table.write_bytes(table.read_bytes()[:100])
    code, _, err = run()
    assert code == 1
    assert "effects.parquet has 100 of " in err
    assert "Run its command again, which measures them again, or put the files back." in err


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"code": "0" * 12}, "code"),
        ({"dataset_fingerprint": "f" * 64}, "data"),
        ({"checkpoints": {"classifier": "e" * 12}}, "weights of the classifier"),
    ],
)
def test_a_figure_of_runs_that_mix_origins_says_so(run, tmp_path, change, what):
    sweep = tmp_path / "outputs" / "phantom_grid"
    name, folder = "effect_against_grid", tmp_path / "outputs" / "figures"
    copied = next(path.parent for path in sweep.rglob("run.json")).rename(sweep / "one")
    shutil.copytree(copied, sweep / "two")
    asked = ("figure=[effect_distribution,effect_against_grid]", f"figure.{name}.figure_name=effect_against_epsilon")
    facts = RunDirectory(copied).facts()
    (sweep / "two" / "run.json").write_text(json.dumps(with_digest({**facts, "settings": "1" * 12})))
    _, out, err = run(*asked)
    assert "mix" not in out + err
    assert "cannot be compared" not in (folder / f"{name}.tex").read_text()
    (sweep / "two" / "run.json").write_text(json.dumps(with_digest({**facts, "settings": "1" * 12, **change})))
    for also in ((), ("check=true",)):
        _, out, err = run(*asked, *also)
        (line,) = [line for line in out.splitlines() if line.startswith("mixed: ")]
        assert line.startswith(f"mixed: {name}: These runs differ in the {what}, which their settings do")
        assert f"the runs of these figures mix origins, as their captions say: {name}\n" in err
    assert f"These runs differ in the {what}, which" in (folder / f"{name}.tex").read_text()
    assert "These runs differ" not in (folder / "effect_distribution.tex").read_text()  # a figure of one run


def test_a_figure_that_the_report_does_not_have_is_named(run):
    code, _, err = run("figure.effect_distribution.figure_name=effect_distributoin")
    assert code == 1
    assert "has no key 'effect_distributoin'. Did you mean effect_distribution?" in err


def test_every_figure_of_the_catalogue_is_drawn_by_default_and_its_experiment_exists():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        figures = compose("figures").figure
    assert sorted(figures) == sorted(path.stem for path in (CONF / "figure").glob("*.yaml"))
    for figure in figures.values():
        if "sweep" in figure:
            assert (CONF / "experiment" / f"{figure.sweep}.yaml").is_file()
