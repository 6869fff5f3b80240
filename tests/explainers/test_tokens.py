"""Class-activation maps of layers that put out tokens, or maps with their channels last."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from dovision.explainers.class_activation_maps import GradCAM, ScoreCAM
from dovision.interfaces import Classifier
from dovision.types import Batch, Task

TASK = Task("multiclass", ("a", "b", "c"))


def batch_of(size: int) -> Batch:
    number = torch.arange(2)
    return Batch(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(4)), number, number, number)


def vision_transformer() -> Classifier:
    torch.manual_seed(1)
    network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    return Classifier(network, TASK, (0.5,), (0.2,)).eval()


def swin() -> Classifier:
    torch.manual_seed(1)
    network = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3)
    nn.init.normal_(network.head.weight)
    return Classifier(network, TASK, (0.5,), (0.2,)).eval()


def grad_cam_by_hooks(classifier: Classifier, module: nn.Module, batch: Batch, as_map) -> torch.Tensor:
    """Worked out with a hook of its own; `as_map` puts values of the module into (B, C, h, w)."""
    found = []
    with module.register_forward_hook(lambda module, args, output: found.append(output)):
        logits = classifier(batch.image.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(logits.gather(1, batch.label[:, None]).sum(), found[0])
    weight = as_map(gradient).mean((2, 3), keepdim=True)
    return (weight * as_map(found[0])).sum(1).clamp(min=0).detach()


def test_grad_cam_of_a_vision_transformer_puts_patches_where_they_lie():
    classifier, batch = vision_transformer(), batch_of(32)
    norm = classifier.network.encoder.layers.encoder_layer_1.ln_1
    expected = grad_cam_by_hooks(classifier, norm, batch, lambda value: value[:, 1:].mT.reshape(2, 12, 4, 4))
    for layer in (None, "encoder.layers.encoder_layer_1.ln_1"):
        GradCAM(layer).check(classifier, (3, 32, 32))
        torch.testing.assert_close(GradCAM(layer).run(batch, batch.label, classifier), expected)
    assert expected.std((1, 2)).max() > 0


def test_grad_cam_of_tokens_takes_one_forward_pass():
    classifier, batch, passes = vision_transformer(), batch_of(32), []
    explainer = GradCAM()
    explainer(batch, batch.label, classifier)  # finds the layout
    with classifier.register_forward_hook(lambda *_: passes.append(1)):
        explainer(batch, batch.label, classifier)
    assert len(passes) == 1


def test_grad_cam_of_a_swin_moves_the_channels():
    classifier, batch = swin(), batch_of(64)
    last = classifier.network.features
    expected = grad_cam_by_hooks(classifier, last, batch, lambda value: value.movedim(-1, 1))
    torch.testing.assert_close(GradCAM().run(batch, batch.label, classifier), expected)


def test_score_cam_masks_by_the_tokens_maps():
    classifier, batch = vision_transformer(), batch_of(32)
    maps = ScoreCAM()(batch, batch.label, classifier)
    assert maps.shape == (2, 32, 32)
    assert maps.isfinite().all()


def test_a_layer_behind_which_the_class_token_alone_is_read_is_refused():
    classifier, batch = vision_transformer(), batch_of(32)
    with pytest.raises(ValueError, match=r"the class must depend on the patches of layer .*read its class token alone"):
        GradCAM("encoder.layers.encoder_layer_1").run(batch, batch.label, classifier)


@pytest.mark.parametrize(("name", "layer"), [("vit_tiny_patch16_224", "blocks.1.norm1"), ("swin_tiny", "layers.1")])
def test_the_default_layer_of_timms_transformers(name, layer):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    settings = {"depth": 2} if name.startswith("vit") else {"depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    name = name if name.startswith("vit") else "swin_tiny_patch4_window7_224"
    classifier = Classifier(timm.create_model(name, img_size=64, **settings), TASK, (0.5,), (0.2,)).eval()
    classifier.task = Task("multiclass", tuple(map(str, range(1000))))
    batch = batch_of(64)
    maps = GradCAM().run(batch, batch.label, classifier)
    assert torch.equal(maps, GradCAM(layer).run(batch, batch.label, classifier))
    assert maps.any()
