"""Contract of every attack: each yaml of conf/attack is found and tested unlisted."""

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

import made_config
from dovision.functional.norms import size
from dovision.interfaces import Attack
from dovision.types import Batch
from made_batches import state_of
from made_second_device import COUNTS, check

CONF = Path(__file__).resolve().parents[2] / "conf"
ATTACKS = sorted(path.stem for path in (CONF / "attack").glob("*.yaml"))
LOSSES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))
TARGETED = [name for name in ATTACKS if "\ntarget:" in (CONF / f"attack/{name}.yaml").read_text()]
RAISING = [name for name in ATTACKS if "/loss@loss:" in (CONF / f"attack/{name}.yaml").read_text()]
QUICK = {"steps": 5, "searches": 3, "queries": 20, "starts": 5, "binary_search_steps": 2}  # for what a yaml says


@cache
def configured(name: str, *overrides: str) -> DictConfig:
    config = made_config.composed(f"+attack={name}", "+seed=3", *overrides, command=None)
    for settings in (config.attack, config.attack.get("settings") or {}):
        settings.update({key: value for key, value in QUICK.items() if key in settings})
    return config.attack


def composed(name: str, *overrides: str) -> Attack:
    return instantiate(configured(name, *overrides))


@pytest.fixture(params=ATTACKS)
def attack(request) -> Attack:
    return composed(request.param)


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


def test_the_same_seed_gives_the_same_images_whatever_was_drawn_before(attack, classifier, batch):
    clean = batch.image.clone()
    first = attack(batch, classifier, 0.1)
    assert torch.equal(batch.image, clean)  # not written to
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
    before = copy.deepcopy(state_of(classifier))
    attack(batch, classifier, 0.1)
    for now, then in zip(state_of(classifier), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_images_normalised_outside_and_labels_of_another_shape_or_task_are_refused(
    attack, classifier, batch, multilabel_classifier
):
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\], got .* Normalise inside the classifier"):
        attack(batch._replace(image=batch.image * 4 - 2), classifier, 0.1)
    for shape in ((8, 1), (7,), (8, 3)):
        with pytest.raises(ValueError, match=rf"int64 of shape \(8,\), got torch.int64 of shape \({shape[0]}"):
            attack(batch._replace(label=torch.zeros(shape, dtype=torch.long)), classifier, 0.1)
    with pytest.raises(ValueError, match=r"label must be of shape \(8, 3\) for a multilabel task, got .* \(8,\)"):
        attack(batch, multilabel_classifier, 0.1)


def test_queries_are_counted_by_epsilon_and_the_classifier_is_not_watched_any_longer(attack, classifier, batch):
    passes = 0

    def count(module, images, logits):
        nonlocal passes
        passes += len(logits)

    with classifier.register_forward_hook(count):
        attack(batch, classifier, 0.1)
        attack(batch.rows([0, 1]), classifier, 0.1)
    assert attack.queries == {0.1: passes / 10}
    classifier(batch.image)
    attack(batch, classifier, 0.0)
    assert attack.queries == {0.1: passes / 10}
    assert not classifier._forward_hooks


@pytest.mark.parametrize("name", TARGETED)
def test_a_target_is_a_class_of_the_task(name, classifier, batch, multilabel_classifier, multilabel_batch):
    for target in ("b", 1):
        attack = composed(name, f"attack.target={target}")
        attack(batch, classifier, 0.1)
        attack(multilabel_batch, multilabel_classifier, 0.1)
    with pytest.raises(ValueError, match="target must be one of a, b, c, got 'dog'"):
        composed(name, "attack.target=dog")(batch, classifier, 0.1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", RAISING)
def test_any_loss_can_be_raised(name, loss, classifier, batch):
    attack = composed(name, f"loss@attack.loss={loss}")
    assert not torch.equal(attack(batch, classifier, 0.1), batch.image)


PEERS = {"boundary", "carlini_wagner", "ead"}  # of foolbox, which takes no subclass of Tensor


@pytest.mark.parametrize("name", sorted({*ATTACKS} - PEERS))
def test_a_second_device_gives_the_same_images(name, classifier, batch):
    check(lambda attack, *given: attack(*given, 0.02), composed(name), batch, classifier)
    assert COUNTS["synchronisations"] <= (45 if name == "autoattack" else 10)
