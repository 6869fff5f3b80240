"""Any classification network of timm, with any number of channels and classes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.models._published import fetching, has_numbers
from dovision.module_state import evaluating
from dovision.types import Shape, Task


def timm_model(
    name: str,
    pretrained: bool,
    shape: Shape,
    task: str,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    output: str | Sequence[int] | None = None,
) -> Classifier:
    """A timm network as a classifier. Needs the extra timm.

    Args:
        name: as timm names it, such as resnet18 or vit_tiny_patch16_224.augreg_in21k.
        pretrained: start from timm's weights for that name. The head is kept where it fits the classes, and initialised
            otherwise.
        shape: (C, H, W) of the images. With pretrained weights, the first convolution's are summed over colours for one
            channel, as if the grey image were given three times. A network made for one size is made for this one.
        task, classes, mean, std: as of `dovision.models`.
        output: as of `Classifier`.

    Raises:
        ValueError: timm has no network, or no weights, of that name.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.

    Example:
        >>> import dovision as dv
        >>> dv.timm_model("resnet10t", False, (3, 32, 32), "multiclass", ["a", "b"], [0.5], [0.5]).task.classes
        ('a', 'b')
    """
    timm = checks.import_extra("timm", "timm")
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    if name not in known:
        raise ValueError(f"model.name must be one of timm.list_models(), got {name!r}.{checks.suggestion(name, known)}")
    if pretrained and not timm.is_model_pretrained(name):
        raise ValueError(f"timm has no weights of {name}. Start from random ones: model.pretrained=false.")
    facts = timm.get_pretrained_cfg(name)
    settings: dict[str, Any] = {"in_chans": shape[0], "num_classes": len(classes)}
    if facts.fixed_input_size:
        settings["img_size"] = tuple(shape[1:])
    remedy = "Fetch them once where there is a network and copy the cache (the folder HF_HOME) here, or start from "
    with fetching(f"of {name}", facts.hf_hub_id or facts.url, f"{remedy}random weights: model.pretrained=false."):
        network = timm.create_model(name, pretrained=pretrained and has_numbers(), **settings)
    fix_same_padding(network, shape)
    return Classifier(network, Task(task, tuple(classes)), mean, std, output)


class PaddedConvolution(nn.Module):
    """A convolution, with its own weights, behind a border of zeros for maps of one size, (rows, columns).

    In place of TensorFlow's "same" padding, which looks at the size of each map, so that the network cannot be traced.
    """

    def __init__(self, layer: nn.Conv2d, size: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.border = _border(layer, size)  # left, right, top, bottom

    def forward(self, value: Tensor) -> Tensor:
        padded = F.pad(value, self.border)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_same_padding(network: nn.Module, shape: Shape) -> None:
    """Replace timm's convolutions that look at the size of their input, of shape (C, H, W), to pad it."""
    dynamic = checks.import_extra("timm.layers", "timm").Conv2dSame
    layers = {name: module for name, module in network.named_modules() if type(module) is dynamic}
    sizes: dict[nn.Module, tuple[int, ...]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes[layer] = tuple(inputs[0].shape[2:])

    if layers:
        with torch.no_grad(), evaluating(network), ExitStack() as hooks:
            for layer in layers.values():
                hooks.enter_context(layer.register_forward_pre_hook(note))
            network(torch.zeros(1, *shape))
    for name, layer in layers.items():
        network.set_submodule(name, PaddedConvolution(layer, sizes[layer]))


def _border(layer: nn.Conv2d, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """As many zeros as make the output ceil(size / stride); the odd one comes after."""
    total = checks.import_extra("timm.layers", "timm").get_same_padding
    rows, columns = map(total, size, layer.kernel_size, layer.stride, layer.dilation)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
