"""A sweep of six jobs, read back from its offline W&B runs and its MLflow store."""

from __future__ import annotations

import pytest

from dovision.store.run_record import read_sweep
from dovision.tracking.dashboard import MOST_SCALARS

FACTORS = [(rows, eps) for rows in (1, 2) for eps in ("0.05", "0.1", "0.2")]


@pytest.mark.long
def test_groups_names_and_numbers_of_a_sweep_of_six(copy, dovision_evaluate, reported, offline_runs, history, stored):
    words = ("attack=fgsm", "attack.eps=0.05,0.1,0.2", "intervention.rows=1,2", "explainer=[edge_map]", "-m")
    named = ("logger.wandb.tags=[ours]", "logger.mlflow.experiment_name=mine", "logger.mlflow.name=ours")
    assert dovision_evaluate(f"output_root={copy}", "logger=[csv,wandb,mlflow]", *named, *words) == 0
    folders = {run.folder.name[:6] for run in read_sweep(copy / "evaluate")}
    sent = offline_runs(copy)
    begun = [run["run"][0] for run in sent]
    names = {run["display_name"] for run in begun}
    assert len({run["run_group"] for run in begun}) == 1
    assert begun[0]["run_group"].startswith("evaluate-")
    assert {tuple(run["tags"]) for run in begun} == {("ours",)}
    assert {name[-6:] for name in names} == folders
    assert {name[:-7] for name in names} == {f"rows={rows} eps={eps}" for rows, eps in FACTORS}
    for run in sent:
        logged = history(run)
        numbers = [name for name, steps in logged.items() if all(isinstance(value, float) for value in steps.values())]
        assert 0 < len([name for name in numbers if name[0] != "_"]) <= MOST_SCALARS + 1  # and the axis
        config = {key for record in run["config"] for key in record["update"]}
        assert "autoencoder" not in config
    client, runs = stored(copy, "mine")
    assert {run.info.run_name for run in runs} == {f"ours {folder}" for folder in folders}
    for run in runs:
        assert 0 < len(run.data.metrics) <= MOST_SCALARS
        files = [each.path for each in client.list_artifacts(run.info.run_id)]
        assert {"figures", "numbers.csv"} <= set(files)
    assert reported(copy / "evaluate", "log_to=wandb") == 0
    (report,) = (run["run"][0] for run in offline_runs(copy / "evaluate" / "report"))
    assert (report["run_group"], report["display_name"]) == (begun[0]["run_group"], "report")
