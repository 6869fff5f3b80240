"""Detectors of pytorch-ood through the adapter: scores are the library's, gradients their slopes."""

import pytest
import torch
from pytorch_ood import detector as library
from torch import Tensor, nn

from dovision.detectors.pytorch_ood import PytorchOOD, central_differences
from dovision.interfaces import Classifier
from dovision.module_state import differentiable

from .conftest import batch_of, images, made


def single() -> Classifier:
    """A classifier in single precision, as the library computes."""
    return made("multiclass")[0].float()


def fitted(method: str, classifier: Classifier, **settings: object) -> tuple[PytorchOOD, Tensor, Tensor]:
    """The adapter fitted to clean images, with the scores of others and what was read of the clean ones."""
    detector = PytorchOOD(method, settings)
    with torch.no_grad():
        clean, other = (
            detector.read(batch_of(images(count, seed).float()), classifier) for count, seed in ((60, 1), (7, 2))
        )
        detector.fit(clean, clean[:0])
        return detector, detector.score(other), clean


@torch.no_grad()
def theirs(method: str, classifier: Classifier, **settings: object) -> Tensor:
    """The same scores by the library alone, on the same images."""
    *layers, last = classifier.network
    encoder = nn.Sequential(*layers)
    normalised = [(images(count, seed).float() - 0.5) / 0.25 for count, seed in ((60, 1), (7, 2))]
    label = classifier.network(normalised[0]).argmax(1).unique(return_inverse=True)[1]
    kind = getattr(library, method)
    if method in ("EnergyBased", "MaxLogit"):
        return kind(classifier.network, **settings)(normalised[1])
    if method == "ReAct":
        own = kind(encoder, last, **settings)
        own.fit([(normalised[0], label)])
    elif method in ("ViM", "DICE"):
        own = kind(encoder, w=last.weight, b=last.bias, **settings).fit([(normalised[0], label)])
    elif method == "NNGuide":
        own = kind(encoder, last, **settings).fit([(normalised[0], label)], device="cpu")
    else:
        own = kind(encoder, **settings).fit([(normalised[0], label)])
    return own.predict(normalised[1])


METHODS = {"EnergyBased": {}, "MaxLogit": {}, "KNN": {"k": 3}, "ViM": {"d": 16}, "DICE": {"p": 0.5}}
METHODS |= {"ReAct": {"percentile": 0.9}, "NNGuide": {"k": 3}}


@pytest.mark.parametrize(("method", "settings"), METHODS.items())
def test_scores_are_those_of_the_library_alone(method, settings):
    classifier = single()
    _, score, _ = fitted(method, classifier, **settings)
    torch.testing.assert_close(score.double(), theirs(method, classifier, **settings).double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["KNN", "MaxLogit", "EnergyBased", "GradNorm"])
def test_the_gradient_is_the_slope_of_the_score(method):
    classifier = single()
    detector, _, _ = fitted(method, classifier)
    image = images(2, seed=3).float()

    def score(image: Tensor) -> Tensor:
        return detector.score(detector.read(batch_of(image), classifier)).sum()

    with differentiable(classifier):
        leaf = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(leaf), leaf)
    step = 1e-4 * gradient.sign()
    slope = ((score(image + step) - score(image - step)) / 2e-4).item()
    assert slope == pytest.approx(gradient.abs().sum().item(), rel=0.05)


def test_central_differences_of_a_quadratic_form_are_exact():
    form = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 1.0]], dtype=torch.float64)
    rows = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slope = central_differences(lambda rows: ((rows @ form) * rows).sum(1), rows)
    torch.testing.assert_close(slope, 2 * rows @ form)


def test_the_setting_that_separates_best_is_picked():
    classifier = single()
    detector = PytorchOOD("KNN", {"k": [1, 5], "normalize": True})
    assert detector.supervised
    with torch.no_grad():
        clean = detector.read(batch_of(images(60).float()), classifier)
    detector.fit(clean, clean.flip(1))
    own = [PytorchOOD("KNN", {"k": k}) for k in (1, 5)]
    areas = []
    for each in own:
        each.read(batch_of(images(1).float()), classifier)
        each.fit(clean, clean[:0])
        areas.append((each.score(clean.flip(1)).unsqueeze(1) > each.score(clean)).float().mean().item())
    assert detector.tuned == {"k": (1, 5)[areas.index(max(areas))], "normalize": True}


def test_classes_without_a_clean_image_do_not_matter():
    classifier = single()
    nn.init.constant_(classifier.network.linear.bias, 0.0)
    classifier.network.linear.bias.data[1] = -100.0  # a class that is never predicted
    for method in ("SHE", "RMD", "KLMatching"):
        assert fitted(method, classifier)[1].isfinite().all()
