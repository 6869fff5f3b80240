"""Plain passes by other runtimes: the network is exported once, and each chunk of painted images is one call."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier
from dovision.types import Batch, Box

Run = Callable[[Tensor], Tensor]  # images, shape (N, C, H, W), to logits, shape (N, K)


@lru_cache(maxsize=1)
def onnx_model(classifier: Classifier, image: Tensor) -> bytes:
    """The classifier in ONNX's format, with the number of images free."""
    target = io.BytesIO()
    plain = copy.deepcopy(classifier).eval().to(memory_format=torch.contiguous_format)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(plain),
            (image[:1].repeat(2, 1, 1, 1),),
            target,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "images"}, "logits": {0: "images"}},
            dynamo=False,
        )
    return target.getvalue()


class _Logits(nn.Module):
    """The classifier with its one argument."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(image)


def onnx_runtime(classifier: Classifier, image: Tensor) -> Run:
    """A session of ONNX Runtime with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(classifier, image), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"image": images.contiguous().numpy()})[0])


def openvino(classifier: Classifier, image: Tensor, precision: str = "f32") -> Run:
    """A model compiled by OpenVINO with as many threads as torch has, in float32 or bfloat16."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(onnx_model(classifier, image))
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", settings)
    return lambda images: torch.from_numpy(compiled({"image": images.contiguous().numpy()})[0].copy())


@torch.inference_mode()
def painted_passes(run: Run, cells: Sequence[Box], batch: Batch, chunk: int) -> Tensor:
    """Effects of painting each cell black on the probability of each class, shape (B, U, K)."""
    control = run(batch.image).softmax(-1)
    pairs = [(image, cell) for image in batch.image for cell in cells]
    treated = []
    for start in range(0, len(pairs), chunk):
        part = pairs[start : start + chunk]
        painted = torch.stack([image for image, _ in part])
        for image, (_, cell) in zip(painted, part, strict=True):
            cell.crop(image).zero_()
        treated.append(run(painted).softmax(-1))
    return torch.cat(treated).unflatten(0, (len(batch.image), -1)) - control.unsqueeze(1)
