"""Effects with the scales of squeeze-excitation as they are on the image, and the check of what they are worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torchvision.ops import SqueezeExcitation

import dovision as dv
from dovision.propagation import Propagation
from dovision.propagation.edits import all_pairs

SIDE, CELLS = 32, 8


def network_of(strength):
    """Two blocks whose scales follow the image by so much."""
    torch.manual_seed(0)
    blocks = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), SqueezeExcitation(8, 4)]
    blocks += [nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.ReLU(), SqueezeExcitation(8, 4)]
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5)).eval()
    for module in network.modules():
        if isinstance(module, SqueezeExcitation):
            module.fc2.weight.data.mul_(strength)
    return network


@pytest.fixture
def image():
    return torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def with_scales_of(network, image):
    """The network with its scales as they are on one image."""

    def kept(block, input, output):
        return output * 0 + input[0] * kept.of[block]

    kept.of = {}
    hooks = []
    for block in network.modules():
        if isinstance(block, SqueezeExcitation):
            hooks.append(block.register_forward_hook(lambda m, x, y: kept.of.__setitem__(m, m._scale(x[0]))))
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    for block in kept.of:
        block.register_forward_hook(kept)
    return network


def test_effects_are_those_of_a_network_whose_scales_no_edit_changes(image):
    classifier = dv.wrap(network_of(1.0), 5)
    grid, batch = (
        dv.PixelGrid(CELLS, CELLS),
        dv.Batch(image[:1], torch.zeros(1).long(), torch.arange(1), torch.arange(1)),
    )
    found = Propagation(classifier, grid, approximate="frozen_scales")(batch)
    fixed = dv.wrap(with_scales_of(network_of(1.0), image[:1]), 5)
    boxes = all_pairs(grid, grid.units((1, SIDE, SIDE)), [0], (1, SIDE, SIDE))[0].box
    exact = Propagation(classifier, grid)(batch).treated[0]
    for unit, (top, left, bottom, right) in enumerate(boxes.tolist()):
        painted = image[:1].clone()
        painted[..., top:bottom, left:right] = 0
        with torch.no_grad():
            expected = exact[unit] if found.approximation.exact[0, unit] else fixed(painted)[0]
        torch.testing.assert_close(found.treated[0, unit], expected, rtol=0, atol=1e-5)
    assert found.approximation.exact.sum() == 7 + 10  # the top decile of 64, and ten others


def test_a_map_comes_with_its_agreement_and_takes_few_operations(image):
    classifier = dv.wrap(network_of(0.02), 5)
    found = dv.effect_map(classifier, image, dv.PixelGrid(CELLS, CELLS), approximate="frozen_scales")
    assert min(found.approximation.means) > 0.9
    assert "approximate=frozen_scales: an estimated rank correlation of" in repr(found)
    exact = dv.effect_map(classifier, image, dv.PixelGrid(CELLS, CELLS))
    assert exact.approximation is None
    measured = found.approximation.exact
    torch.testing.assert_close(found.effect[measured], exact.effect[measured], rtol=0, atol=1e-6)
    again = dv.effect_map(classifier, image, dv.PixelGrid(CELLS, CELLS), chunk=17, approximate="frozen_scales")
    assert torch.equal(again.effect, found.effect)


def fitted_to(images, labels):
    """A network of the same two kinds of block, fitted to images, (N, 1, 16, 16), in half a second."""
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in ((1, 8), (8, 16)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), SqueezeExcitation(outputs, 4)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(4):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval()


@pytest.mark.slow
def test_a_fitted_network_is_accepted_and_its_estimate_is_close_to_the_agreement_of_all_units():
    digits = load_digits()
    images = nn.functional.interpolate(torch.from_numpy(digits.images[:, None] / 16).float(), size=16)
    labels = torch.from_numpy(digits.target)
    network = fitted_to(images[400:], labels[400:])
    with torch.no_grad():
        predicted = network(images[:400]).argmax(1)
    assert (predicted == labels[:400]).float().mean() > 0.8
    classifier, grid = dv.wrap(network, 10), dv.PixelGrid(8, 8)
    found = dv.effect_map(classifier, images[:12], grid, approximate="frozen_scales")
    exact = dv.effect_map(classifier, images[:12], grid).effect
    assert min(found.approximation.means) > 0.9
    assert not torch.equal(found.effect, exact)
    pairs = [(found.effect[n, :, label], exact[n, :, label]) for n, label in enumerate(predicted[:12])]
    agreement = np.mean([spearmanr(*pair).statistic for pair in pairs])
    assert abs(agreement - found.approximation.means[0]) < 0.05


class OfACorner(nn.Module):
    """A corner of the map, by a scale that follows all of it."""

    def forward(self, x):
        return (x * torch.exp(100 * (x.mean((2, 3), keepdim=True) - 0.5)))[..., :8, :8]


def test_what_agrees_too_little_is_refused(image):
    torch.manual_seed(0)
    classifier = dv.wrap(nn.Sequential(OfACorner(), nn.Flatten(), nn.Linear(64, 5)), 5)
    with pytest.raises(ValueError, match=r"must agree with exact effects to 0.9 .* Leave it out"):
        dv.effect_map(classifier, image, dv.PixelGrid(CELLS, CELLS), approximate="frozen_scales")


def test_a_network_without_scales_and_other_words_are_refused(image):
    classifier = dv.wrap(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)), 5)
    for value, error in (("frozen_scales", "no map is multiplied by scales"), ("frozen", "approximate must be one of")):
        with pytest.raises(ValueError, match=error):
            dv.effect_map(classifier, image, dv.PixelGrid(2, 2), approximate=value)
