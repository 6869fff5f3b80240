"""CheXNet: DenseNet-121 with an independent output for each finding of a chest X-ray."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models import densenet121

from dovision import checks
from dovision.interfaces import Classifier
from dovision.models._foreign_weights import load_weights
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
    network = densenet121(num_classes=len(classes if checkpoint_file is None else CHECKPOINT_LABELS))
    if checkpoint_file is not None:
        for name in classes:
            checks.choice("each class of a chexnet with a checkpoint_file", name, CHECKPOINT_LABELS)
        load_weights(network, checkpoint_file)
        choose_outputs(network, "classifier", output_numbers(CHECKPOINT_LABELS, classes))
    return with_arguments(Classifier(network, stated, MEAN, STD), checkpoint_file is not None)
