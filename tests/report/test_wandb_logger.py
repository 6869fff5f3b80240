"""Runs in W&B, read back from their files."""

import os
import socket
import time
from collections import Counter

import pandas as pd
import pytest

from dovision.measurement.effects import EffectEvaluation
from dovision.report.wandb_logger import MOST_SCALARS
from dovision.results.run_record import read_sweep

KEY = "a-secret-key-of-forty-characters-0123456789"


def test_each_job_of_a_sweep_is_a_run_with_its_state_name_group_and_all_that_it_shows(
    copy, dovision_evaluate, offline_run, history, monkeypatch
):
    measure = EffectEvaluation.rows
    fails = lambda self, *given: 1 / 0 if self.intervention.rows == 4 else measure(self, *given)  # noqa: E731
    monkeypatch.setattr(EffectEvaluation, "rows", fails)
    words = ("logger=[csv,wandb]", "attack=fgsm", "attack.eps=0.1", "intervention.rows=2,4", "-m")
    assert dovision_evaluate(f"output_root={copy}", *words) == 1
    by_state = {run.state: run for run in read_sweep(copy / "evaluate")}
    assert len(list(copy.rglob("offline-run-*"))) == len(by_state) == 2
    completed, failed = (offline_run(by_state[state].folder) for state in ("completed", "failed"))
    assert [run["exit"][0]["exit_code"] for run in (completed, failed)] == [0, 1]
    for sent, name, state in ((completed, "rows=2", "completed"), (failed, "rows=4", "failed")):
        (begun,) = {(run["run_group"][:-6], run["job_type"], run["display_name"]) for run in sent["run"]}
        assert begun == ("evaluate-", "evaluate", f"intervention.{name} {by_state[state].folder.name[:6]}")
    config = {key: value for record in completed["config"] for key, value in record["update"].items()}
    assert config["attack"]["eps"] == 0.1
    logged = history(completed)
    assert {key.partition(".")[0] for key in logged} >= {*("figures/overlay", "tables/overlay", "samples", "findings")}
    written = by_state["completed"]
    for condition, numbers in written.summary["conditions"].items():
        assert logged[f"accuracy/{condition}"] == {0: numbers["accuracy"]["estimate"]}
    assert len(list(written.folder.glob("wandb/offline-run-*/files/media/images/figures/overlay_*.png"))) == 1
    weights = f"classifier-{written.record['checkpoints']['classifier']}"
    files = {artifact["name"]: {entry["path"] for entry in artifact["manifest"]["contents"]}
             for artifact in completed["artifact"] if "manifest" in artifact}  # fmt: skip
    assert files[weights] == {"classifier.ckpt"}
    assert {"samples.parquet", "effects.parquet"} <= next(files[name] for name in files if name.startswith("tables-"))


def test_a_job_continues_its_run_until_it_is_completed(job_loggers, tmp_path, offline_runs):
    for step, failed in enumerate([True, False, False]):  # failed, continued and completed, and begun once more
        (logger,) = job_loggers("wandb", config={"seed": 0})
        logger.log_metrics({"loss": 0.5}, step)
        logger.finish(failed)
        assert (tmp_path / "wandb" / "run_id.txt").exists() == failed
        time.sleep(1)  # W&B names its folders by seconds
    begun = [records["run"][0] for records in offline_runs(tmp_path)]
    assert sorted(Counter(run["run_id"] for run in begun).values()) == [1, 2]
    assert all(run["resume"] for run in begun)  # by which wandb sync knows that a piece may go on with another


def no_route(*_, **__):
    raise ConnectionError("no route to the dashboard")


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_of_the_user_is_neither_taken_nor_ended_nor_is_ours_given_to_the_user(
    fails, job_loggers, tmp_path, monkeypatch
):
    """W&B gives a run that is still open to whoever asks for one, so that no job must leave it open."""
    import wandb

    with wandb.init(mode="offline", dir=str(tmp_path / "own"), settings={"silent": True}) as own:
        for _ in range(2):
            (logger,) = job_loggers("wandb")
            with monkeypatch.context() as patch:
                if fails:
                    logger.experiment  # noqa: B018  (the run begins)
                    patch.setattr("wandb.Run.log", no_route)
                logger.log_metrics({"loss": 0.5}, 1)
            assert logger.experiment.id != own.id
            logger.finish(failed=False)
        assert wandb.run is own
        own.log({"mine": 1})
        assert own.summary["mine"] == 1
    with wandb.init(mode="offline", dir=str(tmp_path / "next"), settings={"silent": True}) as following:
        assert wandb.run is following


@pytest.fixture
def silent_server():
    """Address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("trouble", ["is down", "is silent", "fails in the middle"])
def test_trouble_neither_fails_nor_stalls_a_job(trouble, copy, dovision_evaluate, monkeypatch, capsys, silent_server):
    words = [f"output_root={copy}", "logger=[csv,wandb]", "logger.wandb.patience=2"]
    if trouble == "fails in the middle":
        monkeypatch.setattr("wandb.Run.log", no_route)
    else:
        monkeypatch.setenv("WANDB_BASE_URL", silent_server if trouble == "is silent" else "http://127.0.0.1:9")
        words += ["logger.wandb.mode=online"]
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert dovision_evaluate(*words) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert printed.count("W&B failed; the job continues without it") == 1
    remedy = "Send what is stored here: wandb sync" if trouble == "fails in the middle" else "stored nothing here"
    assert remedy in printed
    (run,) = read_sweep(copy / "evaluate")
    assert pd.read_csv(run.folder / "csv" / "metrics.csv")["accuracy/clean"].notna().any()
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in printed


def test_a_key_is_asked_for_in_time_and_numbers_beyond_the_first_are_kept_for_one_table(job_loggers, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_LOGIN_TIMEOUT", "")
    monkeypatch.delenv("WANDB_LOGIN_TIMEOUT")
    job_loggers("wandb", patience=2.0)
    settings = wandb.Settings()
    settings.update_from_env_vars(os.environ)
    assert settings.login_timeout == 2
    sent = []
    monkeypatch.setattr("pytorch_lightning.loggers.WandbLogger.log_metrics", lambda self, *args: sent.append(args[0]))
    (logger,) = job_loggers("wandb")
    metrics = {f"metric_{number}": float(number) for number in range(MOST_SCALARS + 2)}
    logger.log_metrics({**metrics, "picture": "shown"}, 0)
    logger.log_metrics({"metric_0": 1.0, "late": 2.0}, 1)
    assert [list(of_call) for of_call in sent] == [[*list(metrics)[:MOST_SCALARS], "picture"], ["metric_0"]]
    assert logger.rest == {"metric_40": 40.0, "metric_41": 41.0, "late": 2.0}
