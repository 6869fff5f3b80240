"""Interchange on a vision transformer against nnsight, where it is installed."""

import pytest
import torch

import dovision as dv
from dovision.propagation import Propagation

nnsight = pytest.importorskip("nnsight")
timm = pytest.importorskip("timm")
pytestmark = pytest.mark.slow
IMAGES, SOURCES = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
UNITS = {  # of a value (B, T, C)
    "token": (slice(None), 0),
    "channel": (slice(None), slice(None), 0),
    None: (slice(None),),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("site", ["blocks.0", "blocks.2", "norm"])
@torch.no_grad()
def test_interchange_is_that_of_nnsight(site, unit):
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, num_classes=5).eval()
    traced, place = nnsight.NNsight(network), UNITS[unit]
    module = traced.get(site)
    with traced.trace(SOURCES):
        source = module.output.save()
    with traced.trace(IMAGES):
        value = module.output.clone()
        value[place] = source[place]
        module.output = value
        expected = traced.output.save()
    intervention = dv.Activation(site, unit, dv.Interchange(SOURCES), choose=None if unit is None else [0])
    sample = torch.arange(3)
    batch = dv.Batch(IMAGES, torch.zeros(3, dtype=torch.int64), sample, sample)
    outcome = Propagation(dv.wrap(network, 5), intervention)(batch)
    torch.testing.assert_close(outcome.treated[:, 0], expected, rtol=0, atol=1e-5)
    assert (outcome.treated[:, 0] - outcome.control).abs().max() > 1e-3
