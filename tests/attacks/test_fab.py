"""FAB where the nearest adversarial image is known by hand, and against foolbox's DeepFool."""

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


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_of_a_linear_classifier_the_nearest_boundary_is_found(norm):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.0,), (1.0,)).eval()
    image = 0.4 + 0.2 * torch.rand(6, 1, 4, 4)
    batch = Batch(image, classifier(image).argmax(1), torch.arange(6), torch.arange(6))
    weight, logits = classifier.network[1].weight, classifier(batch.image)
    own = batch.label
    lead = logits.gather(1, own.unsqueeze(1)) - logits
    steep = (weight[own].unsqueeze(1) - weight).norm(p=1 if norm == "linf" else 2, dim=2)
    exact = (lead / steep).scatter(1, own.unsqueeze(1), torch.inf).amin(1)
    found = FAB(FAR[norm], steps=20, norm=norm)(batch, classifier, FAR[norm])
    distance = size(found - batch.image, norm)
    assert (classifier(found).argmax(1) != own).all()
    assert (distance >= exact * (1 - 1e-4)).all()
    assert (distance <= exact * 1.02).all()
    eps, passes = exact.sort().values[2:4].mean().item(), []  # three images have a boundary within eps
    classifier.register_forward_hook(lambda module, args, logits: passes.append(len(logits)))
    by_answer = FAB(eps, steps=20, targets=2, norm=norm)(batch, classifier)
    assert ((classifier(by_answer).argmax(1) != own) == (exact < eps)).all()
    assert passes[2] == 6  # of the first answer
    assert min(passes) < 6  # no second answer for an image with one within eps


def test_more_starts_change_no_image_that_one_has_brought_within_eps(trained, digits):
    one, many = (FAB(0.1, steps=10, restarts=restarts)(digits, trained[0]) for restarts in (1, 3))
    distance = size(one - digits.image, "linf")
    within = (distance > 0) & (distance < 0.0999)  # others stay as they are, or are clipped
    assert torch.equal(many[within], one[within])
    assert not torch.equal(many, one)
