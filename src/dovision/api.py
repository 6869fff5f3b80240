"""Classifiers and batches from what a notebook has: any torch module, PIL images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets.as_images import unit_images
from dovision.functional import logit_checks
from dovision.functional.outputs import Reading, probability
from dovision.interfaces import Classifier
from dovision.io.files import sha256
from dovision.models._black_box import BlackBox, onnx_session
from dovision.models._from_function import class_names, wrapped
from dovision.module_state import evaluating
from dovision.propagation.chunking import is_out_of_memory
from dovision.propagation.operations import FullPrecision, Operations
from dovision.propagation.site_table import site_table
from dovision.types import Preprocessing, Resize

AT_A_TIME = 16  # images in a pass


def wrap(
    network: nn.Module | Callable[[Tensor], Any] | str | Path,
    classes: Sequence[str] | int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    task: str | None = None,
    output: str | Sequence[int] | Reading | None = None,
    weights: WeightsEnum | None = None,
    processor: Any = None,
) -> Classifier:
    """A classifier of images in [0, 1], from any torch module or function from normalised images to logits.

    Classes, mean, std and the size of the images (the classifier's `preprocessing`) are those of the weights: of a timm
    network by its `pretrained_cfg`, of one of transformers by its configuration and image processor, of one of
    torchvision by `weights`. A warning names what is not known.

    A function, a session of onnxruntime or an ONNX file works for all that needs logits alone: do() on the image,
    attacks and detectors without gradients, effect maps. It cannot be identified, so that results are not cached.

    Args:
        network: shape (B, C, H, W) to shape (B, K), or, of two classes, to the logit of the second alone; a module is
            in eval mode while it is measured, and then in its own again; a function takes float32, and returns a tensor
            or an array; or a program of torch.export, or the path of an ONNX file.
        classes: names of the K outputs, or K; None: those of the weights, or of an ONNX file the number. One name is a
            label by itself (sigmoid); 1 is a single output, of two classes.
        mean, std: one number, or one a channel, in pixel units; the network sees (image - mean) / std. None: those of
            the weights; where these are not known, the network sees the image.
        task: multiclass (softmax) or multilabel (sigmoid); None: as a transformers network has it, or multiclass.
        output: "probability" of a network that ends in a softmax or a sigmoid; or the logits in what it returns: a name
            such as "logits", "[0]" or "out", or a function of it, such as MeanLogit or ClassShare of a segmentation and
            BoxScore of detections. None: the tensor that it returns, its `logits`, or the only matrix in it.
        weights: those of a torchvision network, such as ResNet18_Weights.IMAGENET1K_V1.
        processor: the image processor of a transformers network; None: the one beside its weights.

    Raises:
        ValueError: the network is neither a module nor a function; classes are neither given nor known, are no names,
            or not different; mean or std are not in [0, 1], or not found for trained weights of transformers.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> classifier = dv.wrap(network, ["dark", "bright"], mean=[0.5], std=[0.25])
        >>> classifier(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 2])
        >>> black_box = dv.wrap(lambda image: image.mean((2, 3)), 3, mean=[0], std=[1])
        >>> dv.effect_map(black_box, torch.rand(1, 3, 8, 8), dv.PixelGrid(2, 2)).map.shape
        torch.Size([1, 8, 8])
    """
    if isinstance(network, Classifier):
        raise ValueError("network must be a plain torch module, got a Classifier, which needs no wrapping.")
    if isinstance(network, torch.export.ExportedProgram):
        network = torch.export.unflatten(network)
    digest = ""
    if isinstance(network, (str, Path)):
        session: Any = onnx_session(network)
        digest = sha256(Path(network))
        classes = session.get_outputs()[0].shape[-1] if classes is None else classes
        if isinstance(classes, str | None):  # the name of an axis of any length
            raise ValueError(f"{network} does not say how many classes it has. Name them: classes=[...].")
        network = session
    if not isinstance(network, nn.Module):
        network = BlackBox(network, len(class_names(classes)) if classes else 0, output)
        if digest:  # a checkpoint, which does not hold the file, is refused beside another one
            network.register_buffer(f"sha256_{digest}", torch.empty(0))
        output = network.outer_reading
    return wrapped(network, classes, mean, std, task, output, weights, processor)


def to_batch(
    images: Any,
    size: int | tuple[int, int] | Preprocessing | None = None,
    channels: int = 3,
    resize: str | Mapping[str, Any] | Resize | None = None,
) -> Tensor:
    """PIL images, files or arrays as a batch in [0, 1], shape (B, C, H, W), as the commands read image files.

    Normalisation is the classifier's own (see `wrap`).

    Args:
        images: one or a list: PIL images of any modes, paths of files, a folder, NumPy arrays (H, W, C) or (C, H, W)
            of 8 bits or float, tensors (C, H, W).
        size: height and width, or one number for both, which each is resized to cover with antialiasing, before its
            centre is taken; or a classifier's `preprocessing`, which says `resize`, too; None: all have one size.
        channels: of PIL images and files: 3 (RGB) or 1 (grey).
        resize: as dataset.resize: cover, stretch, a `Resize`, or its fields; None: cover.

    Raises:
        ValueError: there is none; it is not clear which axis has the channels, or what is white; sizes differ.

    Example:
        >>> from PIL import Image
        >>> dv.to_batch([Image.new("L", (40, 30)), Image.new("RGB", (20, 20))], size=16).shape
        torch.Size([2, 3, 16, 16])
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}.")
    return unit_images(images, size=size, channels=channels, resize=Resize.of(resize))


def sites(network: nn.Module, shape: Sequence[int] = (3, 224, 224)) -> pd.DataFrame:
    """List the sites of a network at which interventions can act, as `dovision-sites` does.

    Args:
        network: a torch module, or a Classifier.
        shape: (C, H, W) of the images.

    Returns:
        A row for each site: site (its name), layout (unknown, if nothing shows it), shape of its value for one image,
        and units (their kinds and counts).

    Raises:
        ValueError: the network takes no such images.

    Example:
        >>> import torch, dovision as dv
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
        >>> dv.sites(network, shape=(1, 8, 8))[["site", "layout", "units"]].values.tolist()[:2]
        [['input', 'NCHW', '1 channel, 64 positions'], ['0', 'NCHW', '4 channels, 36 positions']]
    """
    checks.instance("network", network, nn.Module, "a torch module or a Classifier")
    size = _checks.image_shape(shape)
    try:
        if not isinstance(network, Classifier):
            network = wrap(network, class_count(network, torch.zeros(1, *size)), [0.0], [1.0])
        return pd.DataFrame(site_table(network, size))
    except Exception as error:  # whatever the network's own code raises
        raise ValueError(
            f"the network must take images of shape {size}, but: {error}. Set shape, (C, H, W)."
        ) from error


@torch.no_grad()
def class_count(
    network: nn.Module, image: Tensor, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)
) -> int:
    """Number of the logits that a network of normalised images returns for images in [0, 1].

    Raises:
        ValueError: it fails on such images, or returns no logits.
    """
    classifier = wrap(network, 2, mean, std, "multilabel")
    try:
        with evaluating(classifier):
            output = classifier.forward(image.to(classifier.mean))  # unchecked, since its classes are not counted yet
    except Exception as error:  # whatever the network's own code raises
        raise ValueError(f"it raises {type(error).__name__}: {error}") from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(image):
        raise ValueError(f"it returns {tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__}")
    return output.shape[1]


@torch.no_grad()
def checked_logits(classifier: Classifier, image: Tensor) -> tuple[Tensor, Operations]:
    """Finite logits of images, shape (B, K), and the operations of the pass on the first one.

    Warns of outputs that look like probabilities.

    Raises:
        ValueError: the network fails on such an image, or returns something else.
    """
    for weight in classifier.parameters():  # whatever the dtype of the logits
        if weight.is_floating_point() and weight.dtype.itemsize < logit_checks.LEAST_BYTES:
            logit_checks.refuse_16_bits("logits", f"weights of {weight.dtype}")
    with evaluating(classifier):
        try:
            with FullPrecision() as operations:
                first = classifier(image[:1])
        except Exception as error:  # whatever the network's own code raises
            if isinstance(error, ValueError) or is_out_of_memory(error):
                raise
            got = f"the network must take images of shape {tuple(image.shape[1:])}, but: {error}"
            raise ValueError(f"{got}. Bring them to what it takes: to_batch(images, size=.., channels=1).") from error
        rest = torch.split(image[1:], AT_A_TIME) if len(image) > 1 else ()
        logits = logit_checks.measurable(torch.cat([first, *map(classifier, rest)]), "logits")
        if classifier.output is not probability and logit_checks.ending(logits):
            noise = torch.rand((AT_A_TIME, *image.shape[1:]), generator=torch.Generator().manual_seed(0))
            if last := logit_checks.ending(classifier(noise.to(image))):
                warnings.warn(
                    f"the network's outputs look like probabilities, as if it ended in a {last}, and the classifier's "
                    "own follows: effects are measured behind both. Set output='probability', or ignore it for logits.",
                    stacklevel=4,
                )
    return logits, operations
