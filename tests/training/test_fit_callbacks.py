"""Which of the configured callbacks a fit gets, and which a test; device_stats end to end."""

from __future__ import annotations

import pandas as pd
import pytest
from pytorch_lightning.callbacks import DeviceStatsMonitor, Timer

from dovision.config.component import Component, read_group
from dovision.identity.plans import callbacks_of_fit
from dovision.store.run_record import read_sweep
from dovision.training import fit_callbacks
from dovision.training.fit_callbacks import callbacks_of_tests, check_callbacks

OWN = Component("callbacks.own", {"_target_": "pytorch_lightning.callbacks.Timer"})
SAVES = Component("callbacks.saves", {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "every_n_epochs": 1})


@pytest.fixture
def configured():
    return {**read_group("callbacks"), "own": OWN, "saves": SAVES}


def test_a_test_gets_what_neither_monitors_nor_saves_epochs(configured):
    made = [type(each).__name__ for each in callbacks_of_tests(configured)]
    assert made == ["DeviceStatsMonitor", "LearningRateMonitor", "FitProgress", "Timer"]


def test_a_fit_gets_all_but_what_measures_and_that_of_the_autoencoder_no_monitors(configured):
    assert set(configured) - set(callbacks_of_fit(configured, monitors=True)) == {"effects", "maps", "detection"}
    left = set(callbacks_of_fit(configured, monitors=True)) - set(callbacks_of_fit(configured, monitors=False))
    assert left == {"early_stopping", "model_checkpoint"}


def test_statistics_of_the_processor_without_psutil_are_refused(configured, monkeypatch):
    monkeypatch.setattr(fit_callbacks, "find_spec", lambda name: None)
    chosen = {"device_stats": configured["device_stats"].replaced(cpu_stats=True)}
    with pytest.raises(ValueError, match="callbacks.device_stats needs psutil"):
        check_callbacks(chosen, ["val_loss"])
    check_callbacks({"device_stats": configured["device_stats"].replaced(cpu_stats=False)}, ["val_loss"])


@pytest.mark.slow
def test_the_trainers_of_an_evaluation_get_device_stats_and_a_callback_of_the_user(
    copy, dovision_evaluate, monkeypatch
):
    tests = []
    monkeypatch.setattr(Timer, "setup", lambda self, trainer, pl_module, stage: tests.append(stage))
    words = ("callbacks=[device_stats,early_stopping]", "+callbacks.own._target_=pytorch_lightning.callbacks.Timer")
    detection = ("detector=[max_softmax]", "+attack@detection.attacks.fgsm=fgsm")
    detection += ("detection.val_images=40", "detection.test_images=20")
    assert dovision_evaluate(f"output_root={copy}", *words, *detection, "trainer.log_every_n_steps=1") == 0
    assert tests == ["fit", "test", "test"]
    (run,) = read_sweep(copy / "evaluate")
    rows = pd.read_csv(run.folder / "csv" / "metrics.csv").set_index("step")
    name = f"{DeviceStatsMonitor.__name__}.on_test_batch_end"
    assert rows.loc[0, [column for column in rows if column.startswith(name)]].notna().any()
