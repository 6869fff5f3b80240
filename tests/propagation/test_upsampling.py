"""Decoders: transposed convolutions and interpolation carry a patch, exactly and with fewer operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dovision as dv
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.propagation.operations import Operations
from dovision.types import Batch

SIDE, CLASSES = 24, 3

LAYERS = {
    "doubled": nn.ConvTranspose2d(4, 4, 2, 2),
    "overlapping": nn.ConvTranspose2d(4, 4, 4, 2, padding=1),
    "with gaps": nn.ConvTranspose2d(4, 4, 2, 3, output_padding=1),
    "dilated, grouped, oblong": nn.ConvTranspose2d(4, 4, (3, 2), (2, 1), (1, 0), (1, 0), groups=2, dilation=(2, 1)),
    "same size": nn.ConvTranspose2d(4, 4, 3, padding=1, bias=False),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear between corners": nn.UpsamplingBilinear2d(scale_factor=2),
    "bilinear to a size": nn.Upsample((37, 29), mode="bilinear"),
    "smaller": nn.Upsample((13, 11), mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(scale_factor=(2.0, 3.0), mode="bicubic"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_effects_behind_a_layer_are_those_of_the_plain_pass(name):
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
    network = nn.Sequential(first, LAYERS[name], nn.ReLU(), last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = dv.wrap(nn.Sequential(network, nn.Linear(4, CLASSES)), CLASSES).eval()
    image, number = torch.rand(2, 3, SIDE, SIDE), torch.arange(2)
    propagation, batch = Propagation(classifier, dv.PixelGrid(6, 8)), Batch(image, number, number, number)
    with Operations() as whole, torch.no_grad():
        classifier(image.repeat(48, 1, 1, 1))
    propagation(batch)
    with Operations() as counted:
        treated = propagation(batch).treated
    assert isinstance(propagation.engine, Incremental)
    assert counted.number < 0.6 * whole.number
    for unit in range(48):
        painted = image.clone()
        top, left = divmod(unit, 8)
        painted[:, :, 4 * top : 4 * top + 4, 3 * left : 3 * left + 3] = 0
        with torch.no_grad():
            torch.testing.assert_close(treated[:, unit], classifier(painted), rtol=0, atol=1e-5)
