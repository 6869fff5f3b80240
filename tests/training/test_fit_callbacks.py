"""Which of the configured callbacks a fit gets, and which a test."""

from pytorch_lightning.callbacks import Timer

from dovision.config.component import read_group
from dovision.identity.dependencies import without_monitors


def test_tests_and_the_fit_of_the_autoencoder_get_no_monitors():
    assert [*without_monitors(read_group("callbacks"))] == ["lr_monitor"]


def test_the_trainers_of_an_evaluation_get_a_callback_of_the_user(copy, dovision_evaluate, monkeypatch):
    tests = []
    monkeypatch.setattr(Timer, "setup", lambda self, trainer, pl_module, stage: tests.append(stage))
    words = ("callbacks=early_stopping", "+callbacks.own._target_=pytorch_lightning.callbacks.Timer")
    detection = ("detector=[max_softmax]", "+attack@detection.attacks.fgsm=fgsm")
    detection += ("detection.val_images=40", "detection.test_images=20")
    assert dovision_evaluate(f"output_root={copy}", *words, *detection) == 0
    assert tests == ["fit", "test", "test"]
