"""The search by Optuna, where its sweeper is installed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from dovision.jobs.train import main as train

pytestmark = pytest.mark.long
WORDS = ("dataset=digits", "training.classifier.epochs=0")


def scores(root: Path) -> dict[float, float]:
    """The validation score of each training, by its step size."""
    found = {}
    for path in root.glob("train/*/csv/metrics.csv"):
        hparams = yaml.safe_load(path.with_name("hparams.yaml").read_text())
        found[hparams["training"]["classifier"]["optimizer"]["lr"]] = pd.read_csv(path)["val_score"].dropna().iloc[-1]
    return found


def test_optuna_looks_for_the_step_size_with_the_best_score(tmp_path, run_command):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    few = ("hydra.sweeper.n_trials=3", f"output_root={tmp_path}")
    assert run_command(train, *WORDS, "hparams_search=optuna", *few) == 0
    found = scores(tmp_path)
    assert len(found) == 3
    assert all(0.0001 <= lr <= 0.1 for lr in found)
    (results,) = tmp_path.glob("train/optimization_results.yaml")
    best = yaml.safe_load(results.read_text())
    lr = best["best_params"]["training.classifier.optimizer.lr"]
    assert best["best_value"] == pytest.approx(max(found.values())) == pytest.approx(found[lr])
