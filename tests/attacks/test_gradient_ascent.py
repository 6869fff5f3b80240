"""Attacks by gradient against foolbox and against classifiers solved by hand, and the budget of all attacks."""

from functools import partial

import eagerpy
import foolbox
import pytest
import torch
import torch.nn.functional as F
from foolbox.attacks.gradient_descent_base import normalize_lp_norms
from torch import nn

import dovision as dv
from dovision.attacks.lp_ball import Ball
from made_batches import batch_of

NORMS = ["linf", "l2"]
EPS = {"linf": 0.05, "l2": 0.5}


def linear_classifier(weight: torch.Tensor, mean: float = 0.3, std: float = 0.5) -> dv.Classifier:
    """Logits (0, weight * normalised image): class 1 where the sum is above 0."""
    layer = nn.Linear(weight.numel(), 2, bias=False)
    layer.weight.data = torch.stack([torch.zeros_like(weight), weight])
    return dv.Classifier(nn.Sequential(nn.Flatten(), layer), dv.Task("multiclass", ("no", "yes")), (mean,), (std,))


def by_foolbox(
    attack: foolbox.attacks.base.Attack, batch: dv.Batch, classifier: dv.Classifier, eps: float
) -> torch.Tensor:
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1))
    return attack.run(model, batch.image, foolbox.criteria.Misclassification(batch.label), epsilon=eps)


FOOLBOX_FAST = {"linf": foolbox.attacks.LinfFastGradientAttack, "l2": foolbox.attacks.L2FastGradientAttack}
FOOLBOX_PGD = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_and_bim_equal_foolbox_without_a_random_start(norm, classifier, batch):
    eps = EPS[norm]
    pgd = FOOLBOX_PGD[norm](steps=10, abs_stepsize=eps / 4, random_start=False)
    pairs = (dv.FGSM(eps, norm), FOOLBOX_FAST[norm]()), (dv.BIM(eps, steps=10, step_size=eps / 4, norm=norm), pgd)
    for ours, theirs in pairs:
        expected = by_foolbox(theirs, batch, classifier, eps)
        torch.testing.assert_close(ours(batch, classifier, eps), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_equals_foolbox_from_the_same_start(norm, classifier, batch):
    eps = EPS[norm]
    theirs = FOOLBOX_PGD[norm](steps=10, rel_stepsize=0.25, random_start=True)
    start = Ball(batch.image, eps, norm).draw(batch.sample, seed=5, restart=0)
    theirs.get_random_start = lambda image, epsilon: eagerpy.astensor(start)
    expected = by_foolbox(theirs, batch, classifier, eps)
    ours = dv.PGD(eps, steps=10, norm=norm, seed=5)  # 2.5 / 10 of eps is the default step
    torch.testing.assert_close(ours(batch, classifier, eps), expected, rtol=0, atol=1e-6)


def test_multilabel_bim_equals_foolbox_with_the_labels_cross_entropies(multilabel_classifier, multilabel_batch):
    def loss(image: eagerpy.Tensor) -> eagerpy.Tensor:
        logits = multilabel_classifier(image.raw)
        return eagerpy.astensor(F.binary_cross_entropy_with_logits(logits, multilabel_batch.label, reduction="sum"))

    theirs = foolbox.attacks.LinfBasicIterativeAttack(steps=10, abs_stepsize=0.0125)
    theirs.get_loss_fn = lambda model, labels: loss
    dummy = multilabel_batch._replace(label=torch.zeros(8, dtype=torch.long))
    expected = by_foolbox(theirs, dummy, multilabel_classifier, 0.05)
    ours = dv.BIM(0.05, steps=10)(multilabel_batch, multilabel_classifier, 0.05)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "attack",
    [
        dv.FGSM,
        partial(dv.BIM, steps=40),
        partial(dv.BIM, steps=40, momentum=1),
        partial(dv.PGD, steps=40, step_size=0.05),
        partial(dv.APGD, steps=40),
    ],
    ids=["fgsm", "bim", "mifgsm", "pgd", "apgd"],
)
def test_a_linear_classifier_is_moved_by_epsilon_times_the_dual_norm_of_its_weight(norm, attack):
    weight = torch.randn(16, generator=torch.Generator().manual_seed(0))
    classifier = linear_classifier(weight, std=0.5)
    grey = batch_of(torch.full((1, 1, 4, 4), 0.5), torch.tensor([1]))
    moved = classifier(attack(0.1, norm=norm)(grey, classifier, 0.1)) - classifier(grey.image)
    expected = -0.1 * (weight / 0.5).norm(p=1 if norm == "linf" else 2)
    torch.testing.assert_close(moved[0, 1], expected, rtol=1e-4, atol=0)


class Rigid(nn.Module):
    """A network whose gradient is zero everywhere: an attack is left with its random starts."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image.flatten(1)[:, :2]
        return (40 * (pixels - 0.5)).detach() + 0 * pixels


def test_restarts_keep_the_misclassified_start_and_then_the_highest_loss():
    task = dv.Task("multilabel", ("a", "b"))
    classifier = dv.Classifier(Rigid(), task, (0.0,), (1.0,))
    image = torch.full((12, 1, 2, 2), 0.52)
    batch = batch_of(image, torch.tensor([1.0, 1.0]).expand(12, 2))  # right at first, by a hair
    starts = [Ball(image, 0.03, "linf").draw(batch.sample, seed=0, restart=r) for r in range(5)]
    best = dv.PGD(0.03, steps=1, restarts=5, seed=0)(batch, classifier, 0.03)
    for row in range(12):
        outcome = []
        for start in starts:
            logits = classifier(start[row : row + 1])
            fooled = not task.correct(task.probability(logits), batch.label[:1]).item()
            outcome.append((fooled, task.loss(logits, batch.label[:1]).item()))
        assert torch.equal(best[row], starts[outcome.index(max(outcome))][row])


def test_the_margin_loss_finds_its_way_out_of_a_saturated_softmax():
    classifier = linear_classifier(torch.full((16,), 1e4), mean=0.5)
    batch = batch_of(torch.full((1, 1, 4, 4), 0.6), torch.tensor([1]))
    assert torch.equal(dv.FGSM(0.2)(batch, classifier, 0.2), batch.image)
    attacked = dv.FGSM(0.2, loss=dv.margin)(batch, classifier, 0.2)
    assert classifier(attacked).argmax(1).item() == 0


FOOLBOX = {
    "linf": foolbox.attacks.LinfMomentumIterativeFastGradientMethod,
    "l2": foolbox.attacks.L2MomentumIterativeFastGradientMethod,
}


@pytest.mark.parametrize("momentum", [0.5, 1.0])
@pytest.mark.parametrize("norm", NORMS)
def test_it_equals_foolbox_with_the_sources_normalisation_of_gradients(norm, momentum, classifier, batch):
    eps = EPS[norm]
    theirs = FOOLBOX[norm](momentum=momentum, abs_stepsize=eps / 10, steps=10)
    theirs.normalize = lambda gradients, x, bounds: normalize_lp_norms(gradients, p=1)  # foolbox has sign and L2
    expected = by_foolbox(theirs, batch, classifier, eps)
    ours = dv.BIM(eps, steps=10, step_size=eps / 10, momentum=momentum, norm=norm)
    torch.testing.assert_close(ours(batch, classifier, eps), expected, rtol=0, atol=1e-6)
