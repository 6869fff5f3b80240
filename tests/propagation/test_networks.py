"""Effects at three sites of each of thirteen kinds of networks, against zeroing by hand, in hooks and in weights."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import timm
import torch
import torchvision
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import BasicBlock

from dovision.functional.effects import effect
from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation import Propagation
from dovision.types import Shape, Task
from made_batches import batch_of

CLASSES = 5
HEAD = "head"


class Silenced(Intervention):
    """do(u = 0) for the first, one in the middle and the last unit of a kind."""

    def __init__(self, site: str, unit: str) -> None:
        self.site, self.unit = site, unit

    def units(self, shape: Shape) -> tuple[str, ...]:
        size = shape[0 if self.unit in ("channel", HEAD) else 1]
        return tuple(str(number) for number in sorted({0, size // 2, size - 1}))

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        treated = value.clone()
        number = int(self.units(tuple(value.shape[1:]))[unit])
        treated.select(1 if self.unit in ("channel", HEAD) else 2, number).zero_()
        return treated


class Recurrent(nn.Module):
    """An attention whose images are on the second axis, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.attention = nn.MultiheadAttention(16, 4)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patches(image).flatten(2).permute(2, 0, 1)
        for _ in range(2):
            tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(self.norm(tokens.transpose(0, 1)).mean(1))


class Case(NamedTuple):
    """A unit of a kind at a site; for the hook, the axis of the module's own output, and which of its calls."""

    site: str
    unit: str
    axis: int
    call: int = 0


def small(name: str, **settings: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **settings)


def channels(*sites: str) -> list[Case]:
    return [Case(site, "channel", 1) for site in sites]


def last(*sites: str) -> list[Case]:
    return [Case(site, "channel", -1) for site in sites]


MAXVIT = {
    "img_size": 64,
    "embed_dim": (8, 16, 32, 32),
    "depths": (1, 1, 1, 1),
    "stem_width": 8,
    "transformer_dim_head": 8,
}
VIT = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 4}
SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": (1, 2, 1), "num_heads": (1, 2, 4)}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[Case]]] = {
    "torchvision swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 16, [1, 2, 1, 1], [1, 2, 4, 8], [7, 7], num_classes=CLASSES),
        [*last("features.7", "features.3.1.mlp"), *channels("features.0.0")],
    ),
    "timm swin": (small("swin_tiny_patch4_window7_224", **SWIN), last("layers.0", "layers.1.blocks.1", "norm")),
    "timm vit_tiny": (
        small("vit_tiny_patch16_224", **VIT),
        [*last("blocks.0.mlp.act"), Case("blocks.1", "token", 1), Case("blocks.0.attn.heads", HEAD, -1)],
    ),
    "timm deit_tiny_distilled": (
        small("deit_tiny_distilled_patch16_224", **VIT),
        [*last("blocks.1"), Case("blocks.0.norm1", "token", 1), Case("blocks.1.attn.heads", HEAD, -1)],
    ),
    "torchvision vit": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=CLASSES),
        [
            *last("encoder.ln"),
            Case("encoder.layers.encoder_layer_0", "token", 1),
            Case("encoder.layers.encoder_layer_1.self_attention.heads", HEAD, -1),
        ],
    ),
    "torch MultiheadAttention": (
        Recurrent,
        [*last("norm"), Case("attention.heads#0", HEAD, -1, 0), Case("attention.heads#1", HEAD, -1, 1)],
    ),
    "torchvision convnext": (
        lambda: torchvision.models.ConvNeXt(
            [CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], num_classes=CLASSES, layer_scale=0.5
        ),
        [*last("features.1.0.block.3"), *channels("features.1.1", "features.3")],
    ),
    "timm convnext": (
        small("convnext_tiny", depths=(1, 1, 2, 1), dims=(8, 16, 32, 64), ls_init_value=0.5),
        [*last("stages.1.blocks.0.norm"), *channels("stages.1.blocks.0", "stages.3")],
    ),
    "torchvision resnet": (
        lambda: torchvision.models.ResNet(BasicBlock, [1, 1, 1, 1], CLASSES),
        [Case("layer1.0.relu#0", "channel", 1, 0), Case("layer1.0.relu#1", "channel", 1, 1), *channels("layer4")],
    ),
    "torchvision densenet": (
        lambda: torchvision.models.DenseNet(8, (2, 3), 16, num_classes=CLASSES),
        channels("features.denseblock1.denselayer2.conv1", "features.transition1", "features"),
    ),
    "torchvision mobilenet_v3_small": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
        channels("features.8", "features.12", "avgpool"),
    ),
    "timm maxvit": (
        small("maxvit_nano_rw_256", **MAXVIT),
        [*last("stages.0.blocks.0.attn_block", "stages.1.blocks.0.attn_grid.mlp"), *channels("stages.2.blocks.0.conv")],
    ),
    "timm mixer": (
        lambda: MlpMixer(CLASSES, img_size=32, patch_size=8, num_blocks=2, embed_dim=32),
        [*last("blocks.0.mlp_channels.fc1", "blocks.1", "norm")],
    ),
}
ONE_SIZE = {"vit", "deit", "mixer", "MultiheadAttention"}  # of images, 32 pixels; the others get 64
SIDES = {name: 32 if ONE_SIZE & set(name.replace("_", " ").split()) else 64 for name in NETWORKS}
CASES = [(name, case) for name, (_, cases) in NETWORKS.items() for case in cases]


@torch.no_grad()
def classifier_of(network: nn.Module, image: Tensor) -> Classifier:
    """With logits so far apart that neither effects nor their differences vanish."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=random)
            module.running_var.uniform_(0.5, 1.5, generator=random)
    classifier = Classifier(network, Task("multiclass", tuple("abcde")), (0.5,) * 3, (0.25,) * 3).eval()
    heads = [each for each in network.modules() if isinstance(each, nn.Linear) and each.out_features == CLASSES]
    for head in heads:
        head.weight.normal_(0, 1, generator=random)
    spread = 2 / classifier(image).std()
    for head in heads:
        head.weight.mul_(spread)
    return classifier.requires_grad_(False)


def treated_by_hand(network: nn.Module, classifier: Classifier, image: Tensor, case: Case, number: int) -> Tensor:
    """P(y | x) with one unit zeroed by a hook; heads by a hook before the projection, or in a copy of its weights."""
    name = case.site.partition("#")[0].removesuffix(".heads")
    module, calls = network.get_submodule(name), []

    def chosen() -> bool:
        calls.append(None)
        return len(calls) - 1 == case.call

    def zero(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not chosen():
            return None
        output = output.clone()
        output.select(case.axis, number).zero_()
        return output

    def zero_head(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        (joined,) = inputs
        joined = joined.clone()
        joined.unflatten(-1, (heads, -1))[..., number, :] = 0
        return (joined,)

    def zero_weights(attention: nn.Module, inputs: tuple[Tensor, ...], kwargs: dict[str, object], output: object):
        if not chosen():
            return None
        weight = attention.out_proj.weight.clone()
        attention.out_proj.weight.unflatten(1, (heads, -1))[:, number] = 0
        again = attention.forward(*inputs, **kwargs)
        attention.out_proj.weight.copy_(weight)
        return again

    heads = getattr(module, "num_heads", 0)
    if case.unit != HEAD:
        handle = module.register_forward_hook(zero)
    elif isinstance(module, nn.MultiheadAttention):
        handle = module.register_forward_hook(zero_weights, with_kwargs=True)
    else:
        handle = module.proj.register_forward_pre_hook(zero_head)
    with handle:
        return classifier(image).softmax(-1)


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda each: each if isinstance(each, str) else each.site)
def test_effects_are_those_of_zeroing_by_hand(name, case):
    torch.manual_seed(0)
    network = NETWORKS[name][0]()
    side = SIDES[name]
    image = torch.rand(2, 3, side, side)
    classifier = classifier_of(network, image)
    propagation = Propagation(classifier, Silenced(case.site, case.unit))
    outcome = propagation(batch_of(image))
    control = classifier(image).softmax(-1)
    expected = torch.stack(
        [effect(treated_by_hand(network, classifier, image, case, int(unit)), control) for unit in outcome.units], 1
    )
    got = outcome.treated.softmax(-1) - outcome.control.softmax(-1).unsqueeze(1)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        ("timm maxvit", Case("stages.0.blocks.0.attn_block.attn", "channel", -1), "1 images; it may hold windows"),
        ("timm maxvit", Case("stages.0.blocks.0.attn_grid.attn.heads", HEAD, -1), "1 images; it may hold windows"),
        ("timm swin", Case("layers.0.blocks.0.attn.heads", HEAD, -1), "1 images; it may hold windows"),
        ("torchvision swin", Case("features.1.0.attn.heads", HEAD, -1), "got 0 runs of its module. Choose another"),
    ],
    ids=lambda each: each.site if isinstance(each, Case) else None,
)
def test_windows_of_the_image_are_refused(name, case, reason):
    image = torch.rand(1, 3, 64, 64)
    classifier = classifier_of(NETWORKS[name][0](), image)
    with pytest.raises(ValueError, match=reason):
        Propagation(classifier, Silenced(case.site, case.unit))(batch_of(image))
