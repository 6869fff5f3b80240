"""Attention maps, against a rollout worked out with torchvision's own attention weights."""

import pytest
import torch
from torch import nn
from torchvision.models import swin_t

from dovision.explainers.attention import AttentionRollout, GradientAttention, attention_weights
from dovision.interfaces import Classifier
from dovision.types import Batch, Task

from .conftest import vision_transformer

SHAPE = (3, 32, 32)


@pytest.fixture
def batch() -> Batch:
    number = torch.arange(2)
    return Batch(torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(2)).double(), number, number, number)


def own_weights(classifier: Classifier, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits and attention of each block, asked for from the network's own modules."""
    found = []

    def ask(module, args, kwargs):
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    def note(module, args, output):
        found.append(output[1])

    attention = [module for module in classifier.modules() if isinstance(module, nn.MultiheadAttention)]
    hooks = [hook for module in attention for hook in (module.register_forward_pre_hook(ask, with_kwargs=True),)]
    hooks += [module.register_forward_hook(note) for module in attention]
    logits = classifier(image)
    for hook in hooks:
        hook.remove()
    return logits, found


def test_recorded_attention_equals_that_of_the_network_and_its_logits_stay(batch):
    classifier = vision_transformer(3).double()
    logits, weights = attention_weights(classifier, batch.image)
    expected, own = own_weights(classifier, batch.image)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(torch.stack(weights), torch.stack(own))


def test_rollout_equals_one_worked_out_by_hand(batch):
    classifier = vision_transformer(3).double()
    product = torch.eye(17, dtype=torch.float64)
    for weights in own_weights(classifier, batch.image)[1]:
        product = (0.5 * weights.mean(1) + 0.5 * torch.eye(17, dtype=torch.float64)) @ product
    maps = AttentionRollout().run(batch, batch.label, classifier)
    torch.testing.assert_close(maps, product[:, 0, 1:].reshape(2, 4, 4))


def test_gradient_attention_equals_one_worked_out_by_hand(batch):
    classifier = vision_transformer(3).double()
    image = batch.image.clone().requires_grad_()
    logits, weights = own_weights(classifier, image)
    used = [each._base for each in weights]  # the module returns a view of the weights that it uses
    gradients = torch.autograd.grad(logits.gather(1, batch.label[:, None]).sum(), used)
    relevance = torch.eye(17, dtype=torch.float64).expand(2, -1, -1)
    for each, gradient in zip(weights, gradients, strict=True):
        relevance = relevance + (each * gradient.view_as(each)).clamp(min=0).mean(1) @ relevance
    maps = GradientAttention().run(batch._replace(image=image), batch.label, classifier)
    torch.testing.assert_close(maps, relevance[:, 0, 1:].reshape(2, 4, 4))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_timm_networks_know_how_many_tokens_stand_for_no_patch(name):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    network = timm.create_model(name, img_size=64, depth=2, num_classes=3)
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.5,), (0.2,)).eval()
    number = torch.arange(2)
    batch = Batch(torch.rand(2, 3, 64, 64), number, number, number)
    for explainer in (AttentionRollout(), GradientAttention()):
        explainer.check(classifier, (3, 64, 64))
        maps = explainer(batch, number, classifier)
        assert maps.shape == (2, 64, 64)
        assert maps.std((1, 2)).min() > 0


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), "no attention ran"),
        (swin_t(num_classes=3), "no attention ran|attends over windows"),
    ],
    ids=["a CNN", "Swin"],
)
def test_networks_without_attention_over_all_tokens_are_refused_before_the_first_image(network, reason):
    classifier = Classifier(network, Task("multiclass", ("a", "b", "c")), (0.5,), (0.2,)).eval()
    with pytest.raises(ValueError, match=f"a map of attention needs .*({reason})"):
        AttentionRollout().check(classifier, SHAPE)
