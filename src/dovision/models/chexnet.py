"""CheXNet: DenseNet-121 with an independent output for each finding of a chest X-ray."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import shorten

from torch import nn
from torchvision.models import densenet121

from dovision import checks
from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.models._published import (
    check_colours,
    check_size,
    choose_outputs,
    output_numbers,
    stated_or_own,
    with_arguments,
)
from dovision.types import Shape, Task

# The outputs of the public checkpoint, in its order.
CHECKPOINT_LABELS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of red, green and blue, in pixel units


def chexnet(checkpoint_file: str | None, shape: Shape, task: str | None, classes: Sequence[str] | None) -> Classifier:
    """CheXNet as a classifier.

    Args:
        checkpoint_file: where training starts from: a file in the layout of the public checkpoint, whose outputs are
            matched to the classes by name; or None for random weights.
        shape: (C, H, W) of the images, C 1 or 3, H and W at least 32; the public checkpoint is of 224.
        task: multilabel, or None with a checkpoint_file.
        classes: names, one an output; any of LABELS, in any order, with a checkpoint_file; None: all of these.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another layout, or holds other objects than tensors and plain types; a class is not
            among its outputs; the task is not multilabel.

    Source: Rajpurkar et al., CheXNet, arXiv:1711.05225.

    Example:
        >>> dv.chexnet(None, (1, 32, 32), "multilabel", ["Atelectasis", "Effusion"]).task.classes
        ('Atelectasis', 'Effusion')
    """
    public = None if checkpoint_file is None else Task("multilabel", CHECKPOINT_LABELS)
    stated = stated_or_own("chexnet", task, classes, public)
    task, classes = stated.kind, stated.classes
    if task != "multilabel":
        raise ValueError(f"chexnet's task must be multilabel, got {task!r}. Choose model=torchvision_model for it.")
    check_colours("chexnet", shape)
    check_size("chexnet", shape, 32)
    network = densenet121(num_classes=len(classes)) if checkpoint_file is None else _public(checkpoint_file, classes)
    return with_arguments(Classifier(network, stated, MEAN, STD))


def _public(path: str, classes: Sequence[str]) -> nn.Module:
    for name in classes:
        checks.choice("each class of a chexnet with a checkpoint_file", name, CHECKPOINT_LABELS)
    network = densenet121(num_classes=len(CHECKPOINT_LABELS))
    content = sealed.read_plain(path, "Save its state_dict alone, as {'state_dict': ...}.")
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"the checkpoint {path} must hold a dictionary with a state_dict, got {got}.")
    try:
        network.load_state_dict({_today(name): tensor for name, tensor in state.items()})
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint {path} must hold the tensors of a DenseNet-121 of {len(CHECKPOINT_LABELS)} outputs, got "
            f"others: {shorten(str(error), 400)}"
        ) from error
    choose_outputs(network, "classifier", output_numbers(CHECKPOINT_LABELS, classes))
    return network


def _today(name: str) -> str:
    """module.densenet121.features.denseblock1.denselayer1.norm.1.weight -> features. ... .norm1.weight, and so on."""
    name = name.removeprefix("module.").removeprefix("densenet121.")
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name)
    return name.replace("classifier.0.", "classifier.")  # the linear layer of a pair with a sigmoid
