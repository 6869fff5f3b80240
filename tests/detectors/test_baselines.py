"""The detectors of others, against hand-solved cases and the libraries that the field trusts."""

import itertools

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import dovision as dv
from dovision.detectors._estimators import best_column, fit_gaussian, fit_regression
from dovision.detectors._outputs import logits_of
from dovision.detectors.confidence import logit_entropy
from dovision.detectors.ml_loo import LayerFeatures, dispersion
from dovision.interfaces import Context
from dovision.module_state import differentiable

from .conftest import batch_of, images, made

MULTICLASS, MULTILABEL = (dv.Task(kind, ("a", "b", "c")) for kind in ("multiclass", "multilabel"))
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.0, -0.2], [-3.0, 4.0, 4.5]], dtype=torch.float64)


class Fixed(nn.Module):
    """Says the first pixels, as logits."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :3]


def fixed(task: dv.Task) -> dv.Classifier:
    return dv.Classifier(Fixed(), task, (0.5,), (0.1,))


def combinations(logits: Tensor) -> np.ndarray:
    """The probability of each combination of three independent labels, shape (8,)."""
    present = logits.sigmoid().numpy()
    return np.array([np.prod(np.where(bits, present, 1 - present)) for bits in itertools.product((0, 1), repeat=3)])


def probabilities(task: dv.Task) -> np.ndarray:
    if task.multilabel:
        return np.stack([combinations(row) for row in LOGITS])
    return LOGITS.softmax(1).numpy()


TASKS = pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=lambda task: task.kind)


@TASKS
def test_entropy_is_that_of_scipy(task):
    np.testing.assert_allclose(
        logit_entropy(LOGITS, task).numpy(), stats.entropy(probabilities(task), axis=1), rtol=1e-12
    )


@TASKS
@pytest.mark.parametrize(("score", "sign"), [("unsure", 1), ("sure", -1)])
def test_max_softmax_is_one_minus_the_probability_of_the_likeliest_or_the_other_way_round(task, score, sign):
    detector, image = dv.MaxSoftmax(score), (LOGITS * 0.1 + 0.5).view(3, 1, 1, 3)
    found = detector.score(detector.read(batch_of(image), fixed(task).double()))
    np.testing.assert_allclose(found.numpy(), sign * (1 - probabilities(task).max(1)), rtol=1e-6)


@TASKS
def test_two_sided_max_softmax_counts_five_percent_quantiles_from_the_median(task):
    detector = dv.MaxSoftmax("either")
    image = (LOGITS * 0.1 + 0.5).view(3, 1, 1, 3)
    read = detector.read(batch_of(image), fixed(task).double())
    np.testing.assert_allclose(read[:, 0].numpy(), special.logit(probabilities(task).max(1)), rtol=1e-6)
    clean = torch.arange(101.0).unsqueeze(1)  # quantiles 5, 50 and 95
    detector.fit(torch.cat([clean[:51], 50 + 2 * (clean[51:] - 50)]), clean[:0])  # twice as far above the median
    assert detector.score(torch.tensor([[50.0], [5.0], [140.0], [-40.0]])).tolist() == pytest.approx([0, 1, 1, 2])


def test_images_that_saturate_a_float_are_still_separated():
    image = torch.tensor([[0.9, 0.1, 0.1], [1.0, 0.0, 0.1]]).view(2, 1, 1, 3) * 10
    classifier = fixed(MULTICLASS)
    assert (classifier(image).softmax(1).amax(1) == 1).all()
    for detector in (dv.MaxSoftmax(), dv.Entropy()):
        surer, sure = detector.score(detector.read(batch_of(image), classifier)).flip(0)
        assert 0 < surer < sure


def test_feature_squeezing_is_the_largest_distance_over_the_squeezers():
    """Logits are 10 (x - .5); one bit takes .45, .55, .55 to 0, 1, 1, and a window of one pixel changes nothing."""
    pixels = torch.tensor([0.45, 0.55, 0.55])
    detector = dv.FeatureSqueezing({"bits": dv.BitDepth(1), "median": dv.MedianFilter(1)})
    read = detector.read(batch_of(pixels.view(1, 1, 1, 3)), fixed(MULTICLASS))
    before, one_bit = ((10 * (row - 0.5)).softmax(0) for row in (pixels, pixels.round()))
    torch.testing.assert_close(read, torch.stack([(one_bit - before).abs().sum(), torch.tensor(0.0)]).unsqueeze(0))
    assert torch.equal(detector.score(read), read[:, 0])


def test_supervised_squeezing_weighs_the_squeezers():
    """Attacked images move by the second squeezer alone, less than clean ones do by the first."""
    random = torch.Generator().manual_seed(0)
    clean = torch.rand(40, 2, generator=random) * torch.tensor([1.0, 0.1])
    attacked = torch.rand(40, 2, generator=random) * torch.tensor([1.0, 0.1]) + torch.tensor([0.0, 0.3])
    detector = dv.FeatureSqueezing({"bits": dv.BitDepth(1), "median": dv.MedianFilter(2)}, "regression")
    detector.fit(clean, attacked)
    assert (detector.score(attacked) > detector.score(clean).max()).all()


def test_distances_to_a_gaussian_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 5)) @ random.normal(size=(5, 5)) + 3
    others = random.normal(size=(7, 5)) * 4
    distance = fit_gaussian(torch.from_numpy(rows)).squared_distance(torch.from_numpy(others))
    np.testing.assert_allclose(distance.numpy(), LedoitWolf().fit(rows).mahalanobis(others), rtol=1e-9)


def test_a_covariance_of_too_few_rows_measures_along_these():
    """Two rows around their mean leave nothing to shrink."""
    away = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)
    found = fit_gaussian(torch.cat([away, -away])).squared_distance(torch.cat([2 * away, 0 * away]))
    torch.testing.assert_close(found, torch.tensor([4.0, 0.0], dtype=torch.float64))


def test_the_dispersion_is_that_of_numpy_and_scipy():
    effect = torch.rand(3, 21, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    array = effect.numpy()
    expected = [array.std(1), stats.iqr(array, axis=1), stats.median_abs_deviation(array, axis=1)]
    np.testing.assert_allclose(dispersion(effect).numpy(), np.concatenate(expected, 1), rtol=1e-12)


def test_what_is_dispersed_are_values_of_neurons_when_a_pixel_is_left_out():
    classifier, _ = made("multiclass")
    image = images(2)
    got = dv.MLLOO(dv.PixelGrid(14, 14, dv.Constant(0.0)), ["linear"]).read(batch_of(image), classifier).detach()
    treated = image.unsqueeze(1).repeat(1, 196, 1, 1, 1)
    treated.view(2, 196, 196)[:, range(196), range(196)] = 0
    logits = classifier(treated.flatten(0, 1)).detach().view(2, 196, 3)
    torch.testing.assert_close(got, dispersion(torch.cat([logits, logits.softmax(-1)], -1)))
    alone = dv.MLLOO(dv.PixelGrid(14, 14, dv.Constant(0.0)), [])
    with torch.no_grad():
        torch.testing.assert_close(alone.read(batch_of(image), classifier), dispersion(logits.softmax(-1)))
    assert alone.passes == 196 + 2
    with differentiable(classifier):
        read = alone.read(batch_of(image.requires_grad_()), classifier)
    torch.testing.assert_close(read.detach(), dispersion(logits.softmax(-1)))
    assert read.requires_grad


def flipped(image: Tensor, context: Context) -> Tensor:
    return image.flip(3)


@TASKS
def test_agreement_is_the_mean_over_the_neighbours_of_probability_and_cosine(task):
    classifier, _ = made(task.kind)
    image = images(4)
    got = dv.BEYOND(dv.Transform({"one": flipped, "two": flipped})).read(batch_of(image), classifier).detach()
    normalised = (image - 0.5) / 0.25
    own, other = (classifier.network[:-1](each).detach() for each in (normalised, normalised.flip(3)))
    before, after = (task.probability(classifier(each)).detach() for each in (image, image.flip(3)))
    if task.multilabel:
        agreement = torch.where(before >= 0.5, after, 1 - after).mean(1)
    else:
        agreement = after[range(4), before.argmax(1)]
    torch.testing.assert_close(got, torch.stack([agreement, torch.cosine_similarity(own, other)], 1))


def test_lack_of_agreement_is_in_deviations_of_clean_images():
    detector = dv.BEYOND(dv.Transform({"flipped": flipped}))
    clean = torch.tensor([[0.8, 0.9], [1.0, 0.7]])  # means .9 and .8, deviations .1 times the root of 2
    detector.fit(clean, clean[:0])
    assert detector.score(torch.tensor([[0.6, 0.9]])).item() == pytest.approx((0.3 - 0.1) / (0.1 * 2**0.5))


def test_features_are_means_over_places_of_each_layers_own_output():
    classifier, _ = made("multiclass")
    image = images(2)
    row, logits = LayerFeatures(["norm1", "linear"])(image, classifier)  # relu1 writes into norm1's output
    output = classifier.network.norm1(classifier.network.conv1((image - 0.5) / 0.25))
    torch.testing.assert_close(row, torch.cat([output.mean((2, 3)), logits], 1))
    assert LayerFeatures(None)(images(1), classifier)[0].shape == (1, 6 + 8 + 3)  # all that have weights


def test_the_exported_regression_says_what_scikit_learn_says():
    random = np.random.default_rng(0)
    clean, attacked = random.normal([0] * 5, [1, 10, 0, 3, 1], (80, 5)), random.normal([0, 1, 0, 1, 0], 1, (40, 5))
    rows, attack, other = np.concatenate([clean, attacked]), np.arange(120) >= 80, random.normal(size=(40, 5)) * 2
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")).fit(rows, attack)
    regression = fit_regression(torch.from_numpy(clean), torch.from_numpy(attacked))
    for features, tolerance in ((torch.from_numpy(other), 1e-9), (torch.from_numpy(other).float(), 1e-5)):
        got = regression.logit(features).sigmoid().numpy()
        np.testing.assert_allclose(got, pipeline.predict_proba(other)[:, 1], rtol=0, atol=tolerance)


def test_the_best_column_is_that_of_the_highest_auroc_and_of_equals_the_first():
    clean = torch.tensor([[0.0, 3.0, 0.0, 0.0], [1.0, 2.0, 1.0, 1.0]])
    attacked = torch.tensor([[0.5, 0.0, 5.0, 2.0], [2.0, 1.0, 2.0, 3.0]])  # AUROC .75, 0, 1 and 1
    assert best_column(clean, attacked) == 2
    assert best_column(clean[:, :2], attacked[:, :2]) == 0


@torch.no_grad()
def test_other_images_changed_images_and_other_weights_are_read_anew():
    (classifier, _), image, asked = made("multiclass"), images(2), []
    classifier.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    first = logits_of(image, classifier)
    torch.testing.assert_close(logits_of(image.clone(), classifier), first)
    image.mul_(0.5)
    torch.testing.assert_close(logits_of(image, classifier), classifier(image))
    classifier.network.linear.weight.mul_(3)
    torch.testing.assert_close(logits_of(image, classifier), classifier(image))
    assert len(asked) == 6
