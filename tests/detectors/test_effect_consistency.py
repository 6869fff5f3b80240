"""Consistency and profiles of effects: reads by hand, fits against scikit-learn, properties of the scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

import dovision as dv
from dovision.detectors import _profile
from dovision.detectors._profile import Profile, compressed, flatten_effects, summaries
from dovision.detectors.effect_consistency import log_odds_loss
from dovision.module_state import differentiable
from dovision.propagation import Propagation

from .conftest import batch_of, images, made

TRANSFORM = dv.Transform({"bits1": dv.BitDepth(1), "median2": dv.MedianFilter(2)})
MULTICLASS, MULTILABEL = (dv.Task(kind, ("a", "b", "c")) for kind in ("multiclass", "multilabel"))


class FirstPixels(nn.Module):
    """Ten times the first pixels, less a half, as logits."""

    def forward(self, image: Tensor) -> Tensor:
        return 10 * (image.flatten(1)[:, :3] - 0.5)


def test_distances_are_those_of_the_feature_squeezing_that_it_is_compared_with():
    classifier, digits = dv.example()
    consistency, squeezing = (
        dv.component("detector", name).read(digits, classifier) for name in ("effect_consistency", "feature_squeezing")
    )
    torch.testing.assert_close(consistency[:, : squeezing.shape[1]], squeezing)


def consistency(interventions: dict[str, dv.Intervention], trees: int = 80) -> dv.EffectConsistency:
    return dv.EffectConsistency(interventions, 0.01, trees, 0.08, 8, 1.0, hidden=8, steps=200, seed=0)


def read_of(detector, pixels: list[float], task: dv.Task) -> Tensor:
    classifier = dv.Classifier(FirstPixels(), task, (0.0,), (1.0,)).eval()
    with torch.no_grad():
        return detector.read(batch_of(torch.tensor(pixels).view(1, 1, 1, 3)), classifier)


def test_read_of_a_transform_are_the_distance_and_the_loss_of_log_odds_of_the_predicted_class():
    """One bit takes .4, .6, .7 to 0, 1, 1; logits -1, 1, 2 become -5, 5, 5."""
    read = read_of(consistency({"bits": dv.Transform({"bits1": dv.BitDepth(1)})}), [0.4, 0.6, 0.7], MULTICLASS)[0]
    before, after = torch.tensor([-1.0, 1, 2]), torch.tensor([-5.0, 5, 5])
    odds = [np.log(p / (1 - p)) for p in (before.softmax(0)[2].item(), after.softmax(0)[2].item())]
    distance = (before.softmax(0) - after.softmax(0)).abs().sum()
    torch.testing.assert_close(
        read, torch.tensor([distance.item(), odds[0] - odds[1]], dtype=torch.float32), atol=1e-5, rtol=0
    )


def test_labels_are_summed_on_the_side_that_was_predicted():
    """Of logits -1, 1, 2 that become -5, 5, -5 the prediction 0, 1, 1 gains 4 and 4, and loses 7."""
    control, treated = torch.tensor([[-1.0, 1, 2]]), torch.tensor([[[-5.0, 5, -5]]])
    predicted = torch.tensor([[0, 1, 1]])
    assert log_odds_loss(treated, control, predicted, MULTILABEL).tolist() == [[-1]]


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=lambda task: task.kind)
def test_an_image_that_a_transform_leaves_as_it_is_reads_zero(task):
    detector = consistency({"bits": dv.Transform({"bits1": dv.BitDepth(1), "median1": dv.MedianFilter(1)})})
    assert read_of(detector, [0.0, 1.0, 1.0], task).tolist() == [[0, 0, 0, 0]]


def test_the_losses_of_units_in_the_image_are_sorted_and_forget_their_places():
    """Pixel by pixel black: the logits of .5 + (.3, -.3, .1) fall to -5, one at a time."""
    detector = consistency({"grid": dv.PixelGrid(1, 3)})
    read = read_of(detector, [0.8, 0.2, 0.6], MULTICLASS)[0]
    assert read.shape == (3,)
    assert (read.diff() <= 0).all()
    torch.testing.assert_close(read_of(detector, [0.2, 0.6, 0.8], MULTICLASS)[0], read)


def test_nothing_fitted_the_score_is_the_largest_loss():
    detector = dv.LogOddsEffect({"transform": TRANSFORM})
    assert detector.score(torch.tensor([[1.0, -2.0], [-3.0, 0.5]])).tolist() == [1, 0.5]


def rows_of(count: int, size: float, seed: int) -> Tensor:
    """Reads whose sizes grow together, as those of several transforms do."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(count, 1, generator=random, dtype=torch.float64) + size
    return common + torch.randn(count, 4, generator=random, dtype=torch.float64)


@pytest.fixture(scope="module")
def fitted() -> dv.EffectConsistency:
    detector = consistency({"transform": TRANSFORM})
    detector.fit(rows_of(300, 0, seed=0), rows_of(80, 3, seed=1))
    return detector


def boosting_of(clean: torch.Tensor, attacked: torch.Tensor) -> HistGradientBoostingClassifier:
    trees = HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.08,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        monotonic_cst=[1] * 4,
        class_weight="balanced",
        early_stopping=False,
    )
    rows = torch.cat([clean, attacked]).numpy()
    return trees.fit(np.arcsinh(rows / 0.01), np.repeat([0, 1], [len(clean), len(attacked)]))


def test_the_score_is_that_of_scikit_learns_boosting_under_constraints():
    clean, attacked = rows_of(300, 0, seed=0).round(decimals=1), rows_of(80, 3, seed=1).round(decimals=1)
    detector = consistency({"transform": TRANSFORM})
    detector.fit(clean, attacked)
    other = rows_of(50, 1, seed=2)
    expected = boosting_of(clean, attacked).decision_function(np.arcsinh(other.numpy() / 0.01))
    np.testing.assert_allclose(detector.score(other).numpy(), expected, rtol=1e-9)


def test_of_more_values_than_bins_the_score_is_nearly_that_of_scikit_learn():
    clean, attacked, other = rows_of(2000, 0, seed=0), rows_of(5000, 1, seed=1), rows_of(2000, 0.5, seed=2)
    detector = consistency({"transform": TRANSFORM})
    detector.fit(clean, attacked)
    expected = boosting_of(clean, attacked).decision_function(np.arcsinh(other.numpy() / 0.01))
    assert np.corrcoef(detector.score(other).numpy(), expected)[0, 1] > 0.995


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), column=st.integers(0, 3), rise=st.floats(0, 20))
def test_a_larger_effect_never_scores_lower_by_trees_or_network(fitted, seed, column, rise):
    rows = rows_of(5, 2, seed) * 3
    raised = rows.clone()
    raised[:, column] += rise
    network = fitted.fitted.network
    lower, higher = (compressed(each, 0.01) for each in (rows, raised))
    assert (fitted.score(raised) >= fitted.score(rows)).all()
    assert (network.logit(higher) >= network.logit(lower)).all()


def test_the_network_ranks_images_as_the_trees_do(fitted):
    other = torch.cat([rows_of(200, 0, seed=3), rows_of(200, 3, seed=4)])
    network = fitted.fitted.network.logit(compressed(other, 0.01))
    assert stats.spearmanr(network, fitted.score(other)).statistic > 0.95


def test_every_read_has_a_gradient_also_far_from_what_was_fitted(fitted):
    rows = (rows_of(10, 0, seed=5) * 100).requires_grad_()
    (gradient,) = torch.autograd.grad(fitted.score(rows).sum(), rows)
    assert (gradient > 0).all()


GRID = dv.PixelGrid(2, 3)
CODE = dv.Activation("code")


def test_on_a_linear_classifier_the_log_odds_effect_is_what_the_cell_contributed():
    """Two classes, z_1 - z_0 = w . x: a black cell takes its own part of w . x away from class 1, or gives it to 0."""
    classifier = dv.Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False)), dv.Task("multiclass", ("a", "b")), (0.0,), (1.0,)
    )
    image = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight = (classifier.network[1].weight[1] - classifier.network[1].weight[0]).view(6, 6)
        (effect,) = Profile({"grid": GRID}, "log_odds")(batch_of(image), classifier)
    part = (weight * image[:, 0]).unflatten(2, (3, 2)).unflatten(1, (2, 3)).sum((2, 4)).flatten(1)
    sign = torch.where((weight * image[:, 0]).sum((1, 2)) > 0, 1, -1).unsqueeze(1)
    torch.testing.assert_close(effect[:, :, 0], -sign * part, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", _profile.SCALES)
def test_effects_are_on_the_class_that_the_classifier_says_without_the_autoencoder(scale):
    classifier, with_autoencoder = made("multiclass")
    batch = batch_of(images(4))
    with torch.no_grad():
        got = Profile({"code": CODE}, scale)(batch, classifier)[0]
        predicted = classifier(batch.image).argmax(1)
        outcome = Propagation(with_autoencoder, CODE)(batch)
    treated, control = (
        logits.softmax(-1) if scale == "probability" else with_autoencoder.task.log_odds(logits)
        for logits in (outcome.treated, outcome.control.unsqueeze(1))
    )
    expected = torch.stack([(treated - control)[row, :, c] for row, c in enumerate(predicted)])
    torch.testing.assert_close(got[:, :, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("pairs", [1, 4, 512])
def test_whole_passes_with_a_gradient_agree_with_propagation(monkeypatch, kind, pairs):
    monkeypatch.setattr(_profile, "PAIRS", pairs)
    classifiers = made(kind)
    both = Profile(
        {"grid": dv.PixelGrid(2, 3, dv.Blur(2.0)), "code": CODE, "layer": dv.Activation("conv2")}, "log_odds"
    )
    image = images(3)
    with torch.no_grad():
        expected = flatten_effects(both(batch_of(image), classifiers[0]), True)
    with differentiable(classifiers[0]):
        got = flatten_effects(both(batch_of(image.clone().requires_grad_()), classifiers[0]), True)
    torch.testing.assert_close(got.detach(), expected, rtol=0, atol=1e-5)


def test_a_classifier_with_other_weights_is_read_anew():
    classifier, _ = made("multiclass")
    grid, batch = Profile({"grid": GRID}, "probability"), batch_of(images(2))
    with torch.no_grad():
        grid(batch, classifier)
        classifier.network.linear.weight.mul_(3)
        torch.testing.assert_close(
            grid(batch, classifier)[0], Profile({"grid": GRID}, "probability")(batch, classifier)[0]
        )


def test_summaries_by_hand():
    effect = torch.tensor([[[-3.0], [1.0], [5.0]]])
    expected = torch.tensor([[1.0, 3.0, (32 / 3) ** 0.5, -3.0, 5.0]])
    torch.testing.assert_close(summaries(effect), expected)
    torch.testing.assert_close(
        flatten_effects([effect, effect], True), torch.cat([effect[:, :, 0]] * 2 + [expected] * 2, 1)
    )
    assert torch.equal(flatten_effects([effect], False), effect[:, :, 0])
    equal = torch.zeros(1, 4, 1, requires_grad=True)
    summaries(equal).sum().backward()
    assert equal.grad.isfinite().all()


def test_the_logarithmic_scale_is_linear_below_the_resolution_and_keeps_the_sign():
    effect = torch.tensor([1e-6, 1.0, -1.0, 100.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([1e-4, np.log(200), -np.log(200), np.log(20_000), 0], dtype=torch.float64)
    torch.testing.assert_close(compressed(effect, 0.01), expected, rtol=1e-5, atol=0)
