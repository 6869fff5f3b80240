"""Effects as detectors read them, and the distance of effect profiles, against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dovision.detectors import _profile
from dovision.detectors._estimators import fit_gaussians
from dovision.detectors._profile import Profile, compressed, flatten_effects, summaries
from dovision.interfaces import Classifier
from dovision.interventions.activation import Activation
from dovision.interventions.fills import Blur
from dovision.interventions.pixel_grid import PixelGrid
from dovision.module_state import differentiable
from dovision.propagation import Propagation
from dovision.types import Task

from .conftest import batch_of, images, made

GRID = PixelGrid(2, 3)
CODE = Activation("code")


def test_on_a_linear_classifier_the_log_odds_effect_is_what_the_cell_contributed():
    """Two classes, z_1 - z_0 = w . x: a black cell takes its own part of w . x away from class 1, or gives it to 0."""
    classifier = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False)), Task("multiclass", ("a", "b")), (0.0,), (1.0,)
    )
    image = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight = (classifier.network[1].weight[1] - classifier.network[1].weight[0]).view(6, 6)
        (effect,) = Profile({"grid": GRID}, "log_odds")(batch_of(image), classifier, None)
    part = (weight * image[:, 0]).unflatten(2, (3, 2)).unflatten(1, (2, 3)).sum((2, 4)).flatten(1)
    sign = torch.where((weight * image[:, 0]).sum((1, 2)) > 0, 1, -1).unsqueeze(1)
    torch.testing.assert_close(effect[:, :, 0], -sign * part, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", _profile.SCALES)
def test_effects_are_on_the_class_that_the_classifier_says_without_the_autoencoder(scale):
    classifier, with_autoencoder = made("multiclass")
    batch = batch_of(images(4))
    with torch.no_grad():
        got = Profile({"code": CODE}, scale)(batch, classifier, with_autoencoder)[0]
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
    both = Profile({"grid": PixelGrid(2, 3, Blur(2.0)), "code": CODE, "layer": Activation("conv2")}, "log_odds")
    image = images(3)
    with torch.no_grad():
        expected = flatten_effects(both(batch_of(image), *classifiers), True)
    with differentiable(classifiers[0]):
        got = flatten_effects(both(batch_of(image.clone().requires_grad_()), *classifiers), True)
    torch.testing.assert_close(got.detach(), expected, rtol=0, atol=1e-5)


def test_a_classifier_with_other_weights_is_read_anew():
    classifier, _ = made("multiclass")
    grid, batch = Profile({"grid": GRID}, "probability"), batch_of(images(2))
    with torch.no_grad():
        grid(batch, classifier, None)
        classifier.network.linear.weight.mul_(3)
        torch.testing.assert_close(
            grid(batch, classifier, None)[0], Profile({"grid": GRID}, "probability")(batch, classifier, None)[0]
        )


def test_equal_interventions_are_propagated_once_on_the_same_images(monkeypatch):
    classifier, _ = made("multiclass")
    batch, calls = batch_of(images(2)), []
    run = Propagation.__call__
    monkeypatch.setattr(Propagation, "__call__", lambda self, *given: calls.append(self) or run(self, *given))
    with torch.no_grad():
        one, other = (Profile({"grid": PixelGrid(2, 2)}, "probability") for _ in range(2))
        first, again = (_profile(batch, classifier, None)[0] for _profile in (one, other))
        assert len(calls) == 1
        assert torch.equal(first, again)
        Profile({"grid": PixelGrid(3, 2)}, "probability")(batch, classifier, None)
        one(batch._replace(image=batch.image.clone()), classifier, None)
        batch.image.mul_(0.5)
        one(batch, classifier, None)
    assert len(calls) == 4


def test_summaries_by_hand():
    effect = torch.tensor([[[-3.0], [1.0], [5.0]]])
    expected = torch.tensor([[1.0, 3.0, (32 / 3) ** 0.5, -3.0, 5.0]])
    torch.testing.assert_close(summaries(effect), expected)
    torch.testing.assert_close(
        flatten_effects([effect, effect], True), torch.cat([effect[:, :, 0]] * 2 + [expected] * 2, 1)
    )
    assert torch.equal(flatten_effects([effect], False), effect[:, :, 0])


def test_effects_that_are_all_equal_have_a_gradient_too():
    effect = torch.zeros(1, 4, 1, requires_grad=True)
    summaries(effect).sum().backward()
    assert effect.grad.isfinite().all()


def test_an_effect_that_never_varied_does_not_break_the_distance():
    rows = np.random.default_rng(0).normal(size=(50, 3)) * [1, 0, 1] + [0, 7, 0]
    gaussian = fit_gaussians(torch.from_numpy(rows), torch.zeros(50))
    near, far = gaussian.squared_distance(torch.tensor([[0.0, 7.0, 0.0], [0.0, 9.0, 0.0]]))
    assert near < far < torch.inf


def test_the_logarithmic_scale_is_linear_below_the_resolution_and_keeps_the_sign():
    effect = torch.tensor([1e-6, 1.0, -1.0, 100.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([1e-4, np.log(200), -np.log(200), np.log(20_000), 0], dtype=torch.float64)
    torch.testing.assert_close(compressed(effect, 0.01), expected, rtol=1e-5, atol=0)
