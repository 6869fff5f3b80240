"""FAB where the nearest adversarial image is known by hand, and against foolbox's DeepFool."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.attacks.fab import FAB, project
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch, Task

FAR = {"linf": 1.0, "l2": 8.0}  # epsilons beyond all that is needed


def points(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).view(len(rows), 1, 1, -1)


@pytest.mark.parametrize(
    ("norm", "point", "normal", "offset", "expected"),
    [
        ("linf", [0.5, 0.5], [1.0, 1.0], -1.5, [0.75, 0.75]),
        ("linf", [0.5, 0.5], [2.0, 1.0], -0.6, [0.2, 0.2]),
        ("linf", [0.9, 0.5], [1.0, 1.0], -1.8, [1.0, 0.8]),  # the first pixel stops at 1
        ("linf", [0.9, 0.5], [0.0, 1.0], -0.8, [0.9, 0.8]),
        ("l2", [0.5, 0.5], [1.0, 1.0], -1.5, [0.75, 0.75]),
        ("l2", [0.5, 0.5], [2.0, 1.0], -2.0, [0.7, 0.6]),
        ("l2", [0.9, 0.5], [2.0, 1.0], -2.9, [1.0, 0.9]),
        ("l2", [0.5, 0.5], [1.0, 1.0], -3.0, [1.0, 1.0]),  # out of reach
        ("linf", [0.5, 0.5], [1.0, -1.0], 0.0, [0.5, 0.5]),
        ("linf", [0.5, 0.5], [0.0, 0.0], 1.0, [0.5, 0.5]),
    ],
)
def test_the_nearest_point_of_a_plane_in_the_box_is_found(norm, point, normal, offset, expected):
    found = project(points(point), points(normal), torch.tensor([offset]), norm)
    torch.testing.assert_close(found, points(expected))


@pytest.fixture
def linear() -> tuple[Classifier, Batch]:
    """Three classes, logits linear in 4 x 4 pixels, and grey images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.0,), (1.0,)).eval()
    image = 0.4 + 0.2 * torch.rand(6, 1, 4, 4)
    return classifier, Batch(image, classifier(image).argmax(1), torch.arange(6), torch.arange(6))


@pytest.mark.parametrize("targets", [None, 2])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_of_a_linear_classifier_the_nearest_boundary_is_found(norm, targets, linear):
    classifier, batch = linear
    weight, logits = classifier.network[1].weight, classifier(batch.image)
    own = batch.label
    lead = logits.gather(1, own.unsqueeze(1)) - logits
    steep = (weight[own].unsqueeze(1) - weight).norm(p=1 if norm == "linf" else 2, dim=2)
    exact = (lead / steep).scatter(1, own.unsqueeze(1), torch.inf).amin(1)
    found = FAB(FAR[norm], steps=20, targets=targets, norm=norm)(batch, classifier, FAR[norm])
    distance = size(found - batch.image, norm)
    assert (classifier(found).argmax(1) != own).all()
    assert (distance >= exact * (1 - 1e-4)).all()
    assert (distance <= exact * 1.02).all()


def test_more_starts_never_end_further_away(trained, digits):
    few, many = (
        size(FAB(1.0, steps=10, restarts=restarts)(digits, trained[0], 1.0) - digits.image, "linf")
        for restarts in (1, 3)
    )
    assert (many <= few * (1 + 1e-3)).float().mean() > 0.95  # but for the last bisections
    assert many.mean() <= few.mean()
