"""Networks of which only the logits are seen: no layers, no gradients."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dovision import checks
from dovision.functional.outputs import Reading, probability, reading
from dovision.io import files

_LEAST_VERSION = (1, 24)  # of onnxruntime
_MOST_BYTES = 2**31  # of a file with its weights inside, by its format


class BlackBox(nn.Module):
    """Module of a function from images to logits, whose inside is not seen.

    A gradient is refused when it is asked for, so that explainers and attacks work that ask for none.

    Args:
        function: from images, float32 of shape (B, C, H, W), to logits, as a tensor or an array; or a session of
            onnxruntime.
        outputs: the number of logits, for images without numbers, on the meta device.
        output: how logits are read from what the function returns, as of `Classifier`.

    Raises:
        ValueError: it is neither, or a function without a first argument, such as torchvision's resnet18.
    """

    without_gradient = True

    def __init__(self, function: Any, outputs: int, output: str | Sequence[int] | Reading | None = None) -> None:
        super().__init__()
        is_session = callable(getattr(function, "get_inputs", None))
        rule = "a torch module, a function of images or a path"
        self.function = function if is_session else checks.function("network", function, rule)
        if inspect.isfunction(function) and not _takes_images(function):
            name = function.__name__
            raise ValueError(f"network must be {rule}, got the function {name}, which makes one. Call it: {name}(...).")
        self.is_session = is_session
        self.outputs = outputs
        self.reading = reading(output)
        self.outer_reading = probability if self.reading is probability else None  # which needs the task

    def forward(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor):
            raise TypeError("a black box takes tensors alone")  # the tracer notes it, and whole passes are run
        if image.is_meta:
            return image.new_empty(len(image), self.outputs)
        logits: Tensor = _WithoutGradient.apply(image, self)  # type: ignore[no-untyped-call]
        return logits

    def logits(self, image: Tensor) -> Any:
        """Read the logits of images without a gradient history."""
        returned = session_outputs(self.function, image) if self.is_session else self.function(image)
        returned = tree_map_only(np.ndarray, torch.from_numpy, returned)
        if isinstance(returned, list | tuple) and len(returned) == 1:
            returned = returned[0]
        logits = self.reading(returned)
        return logits.to(image) if isinstance(logits, Tensor) and logits.is_floating_point() else logits


def session_outputs(session: Any, image: Tensor) -> list[Any]:
    """All outputs of a session of onnxruntime, from as many images at a time as it was exported for."""
    entry = session.get_inputs()[0]
    size = entry.shape[0] if isinstance(entry.shape[0], int) else max(len(image), 1)
    batches = []
    for images in torch.split(image, size):
        whole = torch.cat([images, images[-1:].expand(size - len(images), *images.shape[1:])])
        outputs = session.run(None, {entry.name: whole.cpu().numpy()})
        batches.append([output[: len(images)] for output in outputs])
    return [np.concatenate(output) for output in zip(*batches, strict=True)]


def onnx_session(path: str | Path) -> Any:
    """Open an ONNX file with its weights inside as a session of onnxruntime. Needs the extra onnx.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: onnxruntime is missing, or of a version that reads any file that a network names.
        ValueError: it cannot read the file.
    """
    try:
        content = files.read_bytes(path, _MOST_BYTES)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"network must be an ONNX file that exists, but there is no {path}.") from error
    runtime = checks.import_extra("onnxruntime", "onnx")
    if tuple(map(int, runtime.__version__.split(".")[:2])) < _LEAST_VERSION:
        raise ImportError(
            f"an ONNX file needs onnxruntime {'.'.join(map(str, _LEAST_VERSION))}, since older ones read any file that "
            f"it names, got {runtime.__version__}. Install it, with Python 3.11 or newer: "
            f"{checks.install_command('onnx')}."
        )
    options = runtime.SessionOptions()  # weights outside would be read from the working directory: from none
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of errors for each reason, and no common one
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} must be an ONNX file with its weights inside, but: {reason}") from error


def _takes_images(function: Callable[..., Any]) -> bool:
    """Return whether the first parameter must be given, as images are and settings of a network are not."""
    parameter = next(iter(inspect.signature(function).parameters.values()), None)
    if parameter is None or parameter.kind is parameter.KEYWORD_ONLY:
        return False
    return parameter.default is parameter.empty


class _WithoutGradient(torch.autograd.Function):
    """Logits of a black box, of which no gradient can be had."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, box: BlackBox) -> Any:
        logits = box.logits(image.detach())
        if not isinstance(logits, Tensor):
            raise ValueError(f"the function must return logits, shape (B, K), got {type(logits).__name__}.")
        return logits.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise ValueError(
            "a callable or an ONNX file gives logits alone, and no gradient. Choose what needs none: do() on the "
            "image, the attacks square, boundary and random_sign, the explainers effect_map and rise."
        )
