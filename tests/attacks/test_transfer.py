from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dovision.attacks.gradient_ascent import PGD
from dovision.attacks.transfer import Transfer
from dovision.config.sources import HYDRA_DEFAULTS
from dovision.interfaces import Classifier
from dovision.models.checkpoint import save_checkpoint
from dovision.models.small_cnn import small_cnn
from dovision.types import Task

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_images_are_those_of_the_source_and_the_classifier_is_not_asked(trained, digits):
    attack = Transfer(PGD(0.2, steps=10), trained[1])
    images = attack(digits, trained[0], 0.2)
    assert torch.equal(images, PGD(0.2, steps=10)(digits, trained[1], 0.2))
    assert attack.queries == {0.2: 0}


def test_it_carries_over_in_part(trained, digits):
    images = Transfer(PGD(0.15, steps=20), trained[1])(digits, trained[0], 0.15)
    own, others = ((classifier(images).argmax(1) != digits.label).float().mean() for classifier in trained)
    clean = (trained[0](digits.image).argmax(1) != digits.label).float().mean()
    assert clean < own < others


def test_a_source_of_other_classes_is_refused(trained):
    other = Classifier(torch.nn.Flatten(), Task("multiclass", ("a", "b")), (0.0,), (1.0,))
    with pytest.raises(ValueError, match="source must have the classes of the classifier, multiclass: 0, 1, .* got"):
        Transfer(PGD(0.2, steps=10), other).check(trained[0], (1, 8, 8))


def test_the_source_is_read_from_a_checkpoint(tmp_path):
    model = {"shape": [1, 28, 28], "task": "multiclass", "classes": ["a", "b"], "mean": [0.5], "std": [0.5]}
    network = small_cnn(**model)
    save_checkpoint(
        tmp_path / "a.ckpt", network, {"_target_": "dovision.models.small_cnn.small_cnn", **model}, None, {}
    )
    with initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        config = compose(overrides=["+attack=transfer", f"attack.source.path={tmp_path / 'a.ckpt'}", "+seed=0"])
    attack = instantiate(config.attack)
    assert attack.eps == attack.attack.eps
    torch.testing.assert_close(attack.source.network.conv1.weight, network.network.conv1.weight)
