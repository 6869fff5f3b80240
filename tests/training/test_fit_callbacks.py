"""Which of the configured callbacks a fit gets, and which a test."""

import pytest
from pytorch_lightning.callbacks import Timer

from dovision.config.component import Component, read_group
from dovision.identity.dependencies import without_monitors
from dovision.training.fit_callbacks import callbacks_of_tests

OWN = Component("callbacks.own", {"_target_": "pytorch_lightning.callbacks.Timer"})
SAVES = Component("callbacks.saves", {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "every_n_epochs": 1})


@pytest.fixture
def configured():
    return {**read_group("callbacks"), "own": OWN, "saves": SAVES}


def test_a_test_gets_what_neither_monitors_nor_saves_epochs(configured):
    made = [type(each).__name__ for each in callbacks_of_tests(configured)]
    assert made == ["LearningRateMonitor", "Timer"]


def test_the_fit_of_the_autoencoder_gets_no_monitors(configured):
    assert set(configured) - set(without_monitors(configured)) == {"early_stopping", "model_checkpoint"}


@pytest.mark.slow
def test_the_trainers_of_an_evaluation_get_a_callback_of_the_user(copy, dovision_evaluate, monkeypatch):
    tests = []
    monkeypatch.setattr(Timer, "setup", lambda self, trainer, pl_module, stage: tests.append(stage))
    words = ("callbacks=early_stopping", "+callbacks.own._target_=pytorch_lightning.callbacks.Timer")
    detection = ("detector=[max_softmax]", "+attack@detection.attacks.fgsm=fgsm")
    detection += ("detection.val_images=40", "detection.test_images=20")
    assert dovision_evaluate(f"output_root={copy}", *words, *detection) == 0
    assert tests == ["fit", "test", "test"]
