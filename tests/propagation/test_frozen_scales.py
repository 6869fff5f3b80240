"""Effects with the scales of squeeze-excitation as they are on the image, and the check of what they are worth."""

from __future__ import annotations

import pytest
import torch
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
