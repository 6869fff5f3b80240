from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from dovision.evaluation.effects import EffectEvaluation
from dovision.report import style
from dovision.store.run_record import read_sweep


@pytest.mark.slow
def test_each_job_of_a_sweep_is_an_offline_wandb_run_with_the_right_state(
    fitted, dovision_evaluate, offline_run, tmp_path, monkeypatch
):
    measure = EffectEvaluation.measure

    def fail_of_four(self, *arguments):
        if self.intervention.rows == 4:
            raise ValueError("a grid that fails")
        measure(self, *arguments)

    monkeypatch.setattr(EffectEvaluation, "measure", fail_of_four)
    shutil.copytree(fitted / "checkpoints", tmp_path / "checkpoints")
    rows = "intervention.rows=2,4"
    assert (
        dovision_evaluate(f"output_root={tmp_path}", "logger=wandb", "attack=fgsm", "attack.eps=0.1", rows, "-m") == 1
    )
    by_state = {run.state: run for run in read_sweep(tmp_path / "evaluate")}
    completed, failed = (offline_run(by_state[state].folder) for state in ("completed", "failed"))
    assert [run["exit"][0]["exit_code"] for run in (completed, failed)] == [0, 1]
    assert completed["run"][0]["run_group"] == failed["run"][0]["run_group"] == "evaluate"
    assert completed["run"][0]["config"]["update"]["attack"]["eps"] == 0.1
    logged = {key for item in completed["history"] for key in item["item"]}
    assert {key.partition(".")[0] for key in logged} >= {
        "gallery",
        "tables/gallery",
        "effect_maps",
        "effects",
        "samples",
    }
    assert len(list(by_state["completed"].folder.glob("wandb/offline-run-*/files/media/images/gallery_*.png"))) == 1
    summary = {key for item in completed["summary"] for key in item["update"]}
    assert any(key.startswith("clean/accuracy") for key in summary)
    weights = f"classifier-{by_state['completed'].facts['checkpoints']['classifier']}"
    sent = {artifact["name"]: {entry["path"] for entry in artifact["manifest"]["contents"]}
            for artifact in completed["artifact"] if "manifest" in artifact}  # fmt: skip
    assert sent[weights] == {"classifier.ckpt"}
    assert {"samples.parquet", "effects.parquet"} <= next(sent[name] for name in sent if name.startswith("tables-"))


def test_the_csv_says_what_the_summary_says(fitted):
    (run,) = read_sweep(fitted / "evaluate")
    rows = pd.read_csv(run.folder / "metrics.csv").set_index(["condition", "metric"])
    expected = run.summary["conditions"]["eps=0.1"]["success_rate"]
    numbers = ["estimate", "low", "high", "clusters"]
    found = rows.loc[("eps=0.1", "success_rate")]
    assert found[numbers].to_list() == pytest.approx([expected[name] for name in numbers])
    assert found["method"] == expected["method"] == "Clopper-Pearson"
    images = {name: rows.loc[("clean", f"images/{name}"), "estimate"] for name in run.summary["labels"]}
    assert images == run.summary["labels"]
    assert sum(images.values()) == 12


@pytest.mark.parametrize("trouble", ["is down", "hangs"])
@pytest.mark.slow
def test_wandb_that_is_down_or_hangs_neither_fails_nor_stalls_a_job(
    copy, dovision_evaluate, monkeypatch, capsys, trouble
):
    monkeypatch.setattr("dovision.tracking.wandb_logger.PATIENCE", 0.2)

    def init(**settings):
        if trouble == "hangs":
            time.sleep(5)
        raise ConnectionError("no route to the dashboard")

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setenv("WANDB_API_KEY", "a-secret-key-of-forty-characters-0123456789")
    assert dovision_evaluate(f"output_root={copy}", "logger=wandb", "logger.mode=online") == 0
    printed = capsys.readouterr().err
    assert "W&B failed, and the job goes on without it" in printed
    (run,) = read_sweep(copy / "evaluate")
    assert (run.folder / "metrics.csv").exists()
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not any(b"a-secret-key" in path.read_bytes() for path in files)
    assert "a-secret-key" not in printed


@pytest.mark.slow
def test_nothing_of_a_key_is_kept_with_an_offline_run(copy, dovision_evaluate, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "a-secret-key-of-forty-characters-0123456789")
    assert dovision_evaluate(f"output_root={copy}", "logger=wandb") == 0
    files = [path for path in (copy / "evaluate").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not any(b"a-secret-key" in path.read_bytes() for path in files)
    assert "a-secret-key" not in capsys.readouterr().err


@pytest.fixture
def finished(fitted, tmp_path, monkeypatch) -> Path:
    """A copy of the evaluation's runs, without a report, which will have no PDF: their fonts take longest."""
    monkeypatch.delitem(style.FORMS, "pdf")
    return shutil.copytree(fitted / "evaluate", tmp_path / "digits")


def report_on(monkeypatch, *overrides: str) -> None:
    from dovision.cli.report import main

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["dovision-report", *overrides])
    main()


@pytest.mark.slow
def test_a_finished_sweep_is_sent_to_wandb(finished, offline_run, monkeypatch):
    report_on(monkeypatch, f"sweep={finished}", "log_to=wandb")
    sent = offline_run(finished / "report")
    assert (sent["run"][0]["run_group"], sent["run"][0]["display_name"]) == ("digits", "report")
    assert sent["exit"][0].get("exit_code", 0) == 0
    logged = {key.partition(".")[0] for item in sent["history"] for key in item["item"]}
    (run,) = [path.parent.name for path in finished.glob("*/run.json")]
    assert {"figures/results", "tables/results", f"figures/{run}/gallery"} <= logged
    assert "report-digits" in {artifact["name"] for artifact in sent["artifact"]}


@pytest.mark.slow
def test_a_finished_sweep_is_sent_to_tensorboard(finished, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    report_on(monkeypatch, f"sweep={finished}", "log_to=tensorboard")
    events = accumulator.EventAccumulator(str(finished / "report" / "tensorboard"))
    events.Reload()
    assert "figures/effect_against_epsilon" in events.Tags()["images"]


@pytest.mark.slow
def test_a_job_is_logged_to_tensorboard(fitted, dovision_evaluate, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shutil.copytree(fitted / "checkpoints", tmp_path / "checkpoints")
    assert dovision_evaluate(f"output_root={tmp_path}", "logger=tensorboard", "attack=fgsm", "attack.eps=0.1") == 0
    (run,) = read_sweep(tmp_path / "evaluate")
    events = accumulator.EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    (accuracy,) = events.Scalars("accuracy/clean")
    assert accuracy.value == pytest.approx(run.summary["conditions"]["clean"]["accuracy"]["estimate"])
    assert "gallery" in events.Tags()["images"]
    assert events.Tags()["histograms"] == ["effects"]


def test_a_dashboard_that_does_not_exist_names_the_nearest(finished, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        report_on(monkeypatch, f"sweep={finished}", "log_to=wandbb")
    assert "log_to must be one of tensorboard, wandb, got 'wandbb'. Did you mean wandb?" in capsys.readouterr().err
