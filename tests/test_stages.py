from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from dovision.learning.causal_autoencoder import CausalAutoencoder
from dovision.models import checkpoint
from dovision.results.reading import read_sweep
from dovision.train import main as train

FEW_STEPS = ("dataset=digits", "training.classifier.batch_size=512", "training.classifier.epochs=3")
FEW_STEPS += ("autoencoder=conv_1x1", "training.autoencoder.batch_size=512", "training.autoencoder.epochs=2")


@pytest.mark.slow
def test_row_18_a_killed_training_goes_on_to_the_bytes_of_an_undisturbed_one(
    tmp_path, run_command, monkeypatch, capsys
):
    root = f"output_root={tmp_path / 'killed'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "dovision.train", *FEW_STEPS, root], stderr=subprocess.PIPE, text=True
    )
    assert any("epoch 1 of 3" in line for line in process.stderr)
    process.kill()
    assert process.communicate()[1].count("epoch 3 of 3") == 0

    plain, steps = CausalAutoencoder.training_step, itertools.count()

    def step(self, batch, batch_idx):
        if next(steps) == 4:  # the second of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(CausalAutoencoder, "training_step", step)
    assert run_command(train, *FEW_STEPS, root) == 128 + signal.SIGTERM
    said = capsys.readouterr().err
    assert "the training goes on after epoch" in said
    assert "stopped by SIGTERM in epoch 2 of 2; the same command goes on from the start of that epoch" in said
    assert "Traceback" not in said
    assert run_command(train, *FEW_STEPS, root) == 0

    assert run_command(train, *FEW_STEPS, f"output_root={tmp_path / 'undisturbed'}") == 0
    found = {path.relative_to(tmp_path / "killed"): path for path in (tmp_path / "killed").glob("*/*/*")}
    assert {path.name for path in found} >= {"classifier.ckpt", "autoencoder.ckpt"}
    assert "epoch.ckpt" not in {path.name for path in found}
    for path, killed in found.items():
        assert killed.read_bytes() == (tmp_path / "undisturbed" / path).read_bytes(), path


@pytest.mark.slow
def test_two_runs_at_once_fit_one_classifier_and_the_other_waits_for_it(tmp_path):
    small = ["dataset=digits", "training.classifier.epochs=1", "evaluation.images=4", f"output_root={tmp_path}"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "dovision.evaluate", *small, f"intervention.rows={rows}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rows in (1, 2)
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sorted("fitting the classifier" in text for text in said) == [False, True]
    hashes = {run.facts["checkpoints"]["classifier"] for run in read_sweep(tmp_path / "evaluate")}
    assert len(hashes) == 1


def test_the_best_epochs_scores_are_kept_with_the_weights(fitted):
    (path,) = (fitted / "checkpoints").glob("classifier-*/classifier.ckpt")
    facts = checkpoint.read(path)["facts"]
    assert facts["scores"]["epoch"] == 1
    assert facts["scores"]["val_score"] > 0.5
    (run,) = read_sweep(fitted / "evaluate")
    assert run.facts["scores"]["classifier"] == facts["scores"]
    assert json.dumps(facts)


def test_the_fitted_file_is_read_without_running_anything(fitted):
    for path in (fitted / "checkpoints").glob("*/*.ckpt"):
        assert set(torch.load(path, weights_only=True)) == {"format", "model", "autoencoder", "facts", "state"}


@pytest.mark.slow
def test_without_epochs_the_weights_are_scored_as_they_come(tmp_path, dovision_evaluate):
    assert dovision_evaluate(f"output_root={tmp_path}", "training.classifier.epochs=0") == 0
    (path,) = (tmp_path / "checkpoints").glob("classifier-*/classifier.ckpt")
    scores = checkpoint.read(path)["facts"]["scores"]
    assert scores["epoch"] == 0
    assert scores["val_score"] < 0.5


@pytest.mark.slow
def test_the_thresholds_of_a_multilabel_classifier_are_kept_with_it(tmp_path, dovision_evaluate):
    films = ("dataset=phantom", "dataset.task=multilabel", "dataset.label=kinds", "dataset.classes=[nodule,opacity]")
    few = ("dataset.train_images=64", "dataset.val_images=64", "dataset.test_images=12")
    assert dovision_evaluate(f"output_root={tmp_path}", *films, *few) == 0
    (path,) = (tmp_path / "checkpoints").glob("classifier-*/classifier.ckpt")
    facts = checkpoint.read(path)["facts"]
    assert checkpoint.load(path).task.thresholds == tuple(facts["thresholds"])
    assert len(set(facts["thresholds"]) - {0.5}) == 2
    assert {"val_auroc/nodule", "val_auroc/opacity"} <= facts["scores"].keys()
