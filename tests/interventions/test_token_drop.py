"""Dropped tokens, against the network run by hand on the tokens that stay."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import dovision as dv
from dovision.propagation import Propagation
from made_batches import batch_of

TASK = dv.Task("multiclass", ("a", "b", "c"))


def images(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(4))


def of_torchvision() -> dv.Classifier:
    torch.manual_seed(1)
    network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    nn.init.normal_(network.encoder.pos_embedding)
    return dv.Classifier(network, TASK, (0.5,), (0.2,)).eval()


def by_hand(network: VisionTransformer, image: torch.Tensor, stays: list[int]) -> torch.Tensor:
    """Logits of torchvision's network with the class token and some patches."""
    patches = network._process_input(image)
    tokens = torch.cat([network.class_token.expand(len(image), -1, -1), patches], 1) + network.encoder.pos_embedding
    tokens = tokens[:, [0, *(1 + patch for patch in stays)]]
    return network.heads(network.encoder.ln(network.encoder.layers(tokens))[:, 0])


@pytest.mark.parametrize("keep", [False, True])
def test_logits_equal_those_of_the_tokens_that_stay(keep):
    classifier, batch = of_torchvision(), batch_of(images(32))
    outcome = Propagation(classifier, dv.TokenDrop(2, 2, keep))(batch)
    normalised = (batch.image - classifier.mean) / classifier.std
    for unit, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        inside = [4 * r + c for r in (2 * row, 2 * row + 1) for c in (2 * column, 2 * column + 1)]
        stays = inside if keep else sorted(set(range(16)) - set(inside))
        torch.testing.assert_close(outcome.treated[:, unit], by_hand(classifier.network, normalised, stays))
    assert outcome.units == ("r0c0", "r0c1", "r1c0", "r1c1")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_r26_s32_224"])
def test_timms_networks_equal_their_blocks_run_on_the_tokens_that_stay(name):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    settings = {} if "r26" in name else {"depth": 2}
    network = timm.create_model(name, img_size=64, num_classes=3, **settings).eval()
    classifier = dv.Classifier(network, TASK, (0.5,), (0.2,)).eval()
    batch = batch_of(images(64))
    outcome = Propagation(classifier, dv.TokenDrop(2, 2))(batch)
    side = 2 if "r26" in name else 4
    prefix = network.num_prefix_tokens
    grid = torch.arange(side * side).reshape(side, side)
    kept = [
        *range(prefix),
        *(prefix + place for place in grid.flatten().tolist() if place not in grid[: side // 2, side // 2 :]),
    ]
    with torch.no_grad():
        tokens = network.patch_embed((batch.image - classifier.mean) / classifier.std)
        tokens = network.norm_pre(network._pos_embed(tokens)[:, kept])
        expected = network.forward_head(network.norm(network.blocks(tokens)))
    torch.testing.assert_close(outcome.treated[:, 1], expected)


def test_maps_of_effects_are_painted_where_the_tokens_lie():
    classifier, batch = of_torchvision(), batch_of(images(32))
    found = dv.effect_map(classifier, batch.image, dv.TokenDrop(2, 2), target=1)
    assert torch.equal(found.map[:, 0, 0], -found.effect[:, 0, 1])
    assert torch.equal(found.map[:, -1, -1], -found.effect[:, 3, 1])
    maps = dv.EffectMap(dv.TokenDrop(2, 2))(batch, torch.ones(2, dtype=torch.long), classifier)
    torch.testing.assert_close(maps, found.map)
