"""Deletion and insertion by leaving out tokens, against the network run by hand on the tokens that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from dovision.functional import agreement
from dovision.interfaces import Classifier
from dovision.measurement.explanation_config import MapSettings
from dovision.measurement.maps import MapEvaluation
from dovision.measurement.token_removal import TokenRemoval
from dovision.types import Batch, Task

TASK = Task("multiclass", ("a", "b", "c"))
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
ONE = Batch(IMAGE, *torch.zeros(3, 1, dtype=torch.int64))


def transformer() -> Classifier:
    torch.manual_seed(1)
    network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    nn.init.normal_(network.encoder.pos_embedding)
    return Classifier(network, TASK, (0.5,), (0.2,)).eval()


@torch.no_grad()
def by_hand(classifier: Classifier, stays: list[int]) -> torch.Tensor:
    """Logits, shape (K,), with the class token and some patches."""
    network = classifier.network
    patches = network._process_input((IMAGE - classifier.mean) / classifier.std)
    tokens = torch.cat([network.class_token, patches], 1) + network.encoder.pos_embedding
    tokens = tokens[:, [0, *(1 + patch for patch in stays)]]
    return network.heads(network.encoder.ln(network.encoder.layers(tokens))[:, 0])[0]


def patches_of(removed: np.ndarray) -> list[int]:
    """Numbers of the 4 x 4 patches of 8 pixels whose centre no removed cell holds."""
    side, stays = len(removed), []
    for patch in range(16):
        y, x = ((8 * place + 4) * side // 32 for place in divmod(patch, 4))
        if not removed[y, x]:
            stays.append(patch)
    return stays


@pytest.mark.parametrize("cells", [2, 3, 4])
def test_logits_are_those_of_the_tokens_of_cells_that_stay(cells):
    classifier, random = transformer(), np.random.default_rng(0)
    removed = np.concatenate([random.random((5, cells, cells)) < 0.5, np.ones((1, cells, cells), bool)])
    expected = torch.stack([by_hand(classifier, patches_of(each)) for each in removed])
    torch.testing.assert_close(TokenRemoval()(classifier, ONE, removed), expected)


def test_areas_under_the_curves_are_those_of_the_kept_tokens(tmp_path):
    classifier, cells = transformer(), torch.rand(4, 4, generator=torch.Generator().manual_seed(2))
    callback = MapEvaluation(
        {"random_map": "random_map"}, tmp_path, MapSettings(cells=4, steps=4, removal="token_drop"), classifier
    )
    callback.classifier = classifier
    asked = type("Asked", (), {"batch": ONE, "target": torch.tensor([1])})
    removed = agreement.removal(cells.numpy(), 4)
    curves = [
        torch.stack([by_hand(classifier, patches_of(each)).softmax(-1)[1] for each in gone]).double().numpy()
        for gone in (removed, ~removed)
    ]
    assert callback._areas(asked, 0, cells) == pytest.approx([agreement.area(curve) for curve in curves], abs=1e-6)


def mean_of_patches() -> nn.Module:
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    settings = {"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2, "num_classes": 3}
    return timm.create_model("vit_tiny_patch16_224", class_token=False, global_pool="avg", **settings)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 32), nn.Flatten()), "needs a vision transformer"),
        (lambda: SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3), "attend over windows"),
        (mean_of_patches, "from a network with a class token, got one that averages"),
    ],
    ids=["convolutions", "windows", "no class token"],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_other_networks_are_refused_before_the_start(network, reason, device):
    classifier = Classifier(network(), TASK, (0.5,), (0.2,)).eval().to(device)
    with pytest.raises(ValueError, match=reason):
        MapSettings(cells=4, removal="token_drop").check(classifier, (3, 32, 32))
    MapSettings(cells=4).check(classifier, (3, 32, 32))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_cells_are_at_most_those_of_the_tokens(device):
    classifier = transformer().to(device)
    MapSettings(cells=4, removal="token_drop").check(classifier, (3, 32, 32))
    with pytest.raises(ValueError, match=r"cells must be at most those of the tokens, 4 x 4, .*, got 5 x 5"):
        MapSettings(cells=5, removal="token_drop").check(classifier, (3, 32, 32))
