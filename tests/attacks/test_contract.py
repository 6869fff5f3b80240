"""What every attack promises, whatever it is: each yaml of conf/attack is found and tested unlisted."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dovision.contracts import Attack, Batch, Classifier, size

CONF = Path(__file__).resolve().parents[2] / "conf"
ATTACKS = sorted(path.stem for path in (CONF / "attack").glob("*.yaml"))


def composed(name: str) -> Attack:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+attack={name}", "+seed=3"])
    return instantiate(config.attack)


@pytest.fixture(params=ATTACKS)
def attack(request) -> Attack:
    return composed(request.param)


def state(classifier: Classifier) -> tuple:
    """All that an attack must leave as it was."""
    return (
        {name: tensor.clone() for name, tensor in classifier.state_dict().items()},
        [module.training for module in classifier.modules()],
        [parameter.requires_grad for parameter in classifier.parameters()],
        [parameter.grad for parameter in classifier.parameters()],
    )


def test_the_epsilons_are_pixel_units(attack):
    assert all(0 <= eps <= 1 for eps in attack.eps)


def test_attacked_images_stay_in_the_budget_and_in_the_range(attack, classifier, batch):
    for eps in (*attack.eps, 0.5):
        attacked = attack(batch, classifier, eps)
        assert attacked.shape == batch.image.shape
        assert attacked.dtype == batch.image.dtype
        assert (size(attacked - batch.image, attack.norm) <= eps * (1 + 1e-5) + 1e-6).all()
        assert attacked.min() >= 0
        assert attacked.max() <= 1


def test_at_epsilon_zero_every_bit_of_the_image_is_kept(attack, classifier, batch):
    assert torch.equal(attack(batch, classifier, 0.0), batch.image)


def test_the_clean_images_are_not_written_to(attack, classifier, batch):
    before = batch.image.clone()
    attack(batch, classifier, 0.1)
    assert torch.equal(batch.image, before)


def test_the_same_seed_gives_the_same_images_whatever_was_drawn_before(attack, classifier, batch):
    first = attack(batch, classifier, 0.1)
    torch.rand(7)
    assert torch.equal(attack(batch, classifier, 0.1), first)


def test_a_batch_of_eight_equals_one_by_one(attack, classifier, batch):
    classifier, batch = classifier.double(), batch._replace(image=batch.image.double())
    together = attack(batch, classifier, 0.1)
    alone = torch.cat([attack(batch.rows([row]), classifier, 0.1) for row in range(8)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_multilabel_images_are_attacked_too(attack, multilabel_classifier, multilabel_batch):
    attacked = attack(multilabel_batch, multilabel_classifier, 0.1)
    assert (size(attacked - multilabel_batch.image, attack.norm) <= 0.1 + 1e-6).all()


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same_images(attack, classifier, batch, caller):
    expected = attack(batch, classifier, 0.1)
    with caller():
        copied = Batch(*(field.clone() for field in batch))  # under inference_mode: inference tensors
        attacked = attack(copied, classifier, 0.1)
    assert torch.equal(attacked, expected)
    assert not attacked.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_classifier_is_left_as_it_was(attack, classifier, batch, training):
    classifier.train(training)
    classifier.network[1].eval()
    classifier.network[0].weight.requires_grad_(False)
    classifier.network[5].bias.grad = torch.ones(3)
    before = copy.deepcopy(state(classifier))
    attack(batch, classifier, 0.1)
    for now, then in zip(state(classifier), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_images_that_were_normalised_outside_are_refused(attack, classifier, batch):
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\], got .* Normalise inside the classifier"):
        attack(batch._replace(image=batch.image * 4 - 2), classifier, 0.1)
