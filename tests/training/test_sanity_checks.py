"""Classifiers that have forgotten layers."""

import torch
from torch import nn

from dovision.interfaces import Classifier
from dovision.training.sanity_checks import cascade
from dovision.types import Task

TASK = Task("multiclass", ("a", "b"))


def classifier() -> Classifier:
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    return Classifier(network, TASK, [0.5], [0.5])


def changed(one: Classifier, other: Classifier) -> list[int]:
    """Numbers of the layers whose weights differ."""
    pairs = zip(one.network, other.network, strict=True)
    return [n for n, (a, b) in enumerate(pairs) if a.state_dict() and not torch.equal(a.weight, b.weight)]


def test_layers_are_forgotten_from_the_output_down():
    original = classifier()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    forgetful = cascade(original, seed=0)
    assert list(forgetful) == ["randomised 1 of 3", "randomised 2 of 3", "randomised 3 of 3"]
    assert [changed(original, one) for one in forgetful.values()] == [[3, 5], [1, 3, 5], [0, 1, 3, 5]]
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())


def test_what_is_drawn_depends_on_the_seed_alone_and_leaves_the_global_generator():
    original = classifier()
    torch.manual_seed(1)
    first = cascade(original, seed=3)
    state = torch.get_rng_state()
    second = cascade(original, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert all(changed(first[name], second[name]) == [] for name in first)
    assert changed(first["randomised 3 of 3"], cascade(original, seed=4)["randomised 3 of 3"])
