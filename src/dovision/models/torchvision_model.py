"""Any classification network of torchvision, with any number of channels and classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.models._published import fetching, has_numbers
from dovision.types import Shape, Task


def torchvision_model(
    name: str,
    weights: str | None,
    shape: Shape,
    task: str,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    output: str | Sequence[int] | None = None,
) -> Classifier:
    """A torchvision network as a classifier.

    Args:
        name: as torchvision names it, such as resnet18 or densenet121.
        weights: where training starts from: a name such as DEFAULT or IMAGENET1K_V1, or None for random weights.
            The head is kept where it fits the classes, and initialised otherwise.
        shape: (C, H, W) of the images. With pretrained weights, the first convolution's are summed over colours for one
            channel, as if the grey image were given three times.
        task, classes, mean, std: as of `dovision.models`.
        output: as of `Classifier`.

    Raises:
        ValueError: torchvision has no classification network, or no weights, of that name.
        ConnectionError: the weights are not on this machine, and cannot be downloaded.

    Example:
        >>> import dovision as dv
        >>> dv.torchvision_model("resnet18", None, (3, 32, 32), "multiclass", ["a", "b"], [0.5], [0.5]).task.classes
        ('a', 'b')
    """
    checks.choice("model.name", name, torchvision.models.list_models(torchvision.models))
    network = _network(name, weights, len(classes))
    _drop_auxiliary_heads(network)
    if shape[0] != 3:
        _replace_first_convolution(network, shape[0], pretrained=weights is not None)
    return Classifier(network, Task(task, tuple(classes)), mean, std, output)


def _network(name: str, weights: str | None, outputs: int) -> nn.Module:
    choices = torchvision.models.get_model_weights(name)
    if weights is not None:
        checks.choice("model.weights", weights, ["DEFAULT", *(choice.name for choice in choices)])
    if weights is None or not has_numbers():
        return torchvision.models.get_model(name, weights=None, num_classes=outputs)
    folder = f"{torch.hub.get_dir()}/checkpoints"
    remedy = f"Put the file into {folder}, or start from random weights: model.weights=null."
    with fetching(f"{weights} of {name}", choices[weights].url, remedy):
        network = torchvision.models.get_model(name, weights=weights)
    _replace_head(network, outputs)
    return network


def _replace_head(network: nn.Module, outputs: int) -> None:
    if outputs == 1000:
        return
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    name, head = [each for each in layers if len(each[1].weight) == 1000][-1]
    if isinstance(head, nn.Conv2d):
        new: nn.Module = nn.Conv2d(head.in_channels, outputs, head.kernel_size, head.stride)  # type: ignore[arg-type]
    else:
        new = nn.Linear(head.in_features, outputs)
    network.set_submodule(name, new)


def _drop_auxiliary_heads(network: nn.Module) -> None:
    if getattr(network, "aux_logits", False):
        setattr(network, "aux_logits", False)  # noqa: B010
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, head):
                setattr(network, head, None)


def _replace_first_convolution(network: nn.Module, channels: int, pretrained: bool) -> None:
    name, old = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    if pretrained:
        with torch.no_grad():
            total = old.weight.sum(1, keepdim=True)
            new.weight.copy_((total / channels).expand_as(new.weight))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    network.set_submodule(name, new)
