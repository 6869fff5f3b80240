"""The network of an ONNX file, run by onnxruntime: logits alone, without layers and gradients."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.outputs import Reading
from dovision.interfaces import Classifier
from dovision.io import files
from dovision.models._black_box import BlackBox, session_outputs
from dovision.models._from_function import named_task
from dovision.models._published import with_arguments
from dovision.types import Preprocessing, Shape

_LEAST_VERSION = (1, 24)  # of onnxruntime
_MOST_BYTES = 2**31  # of a file with its weights inside, by its format


def onnx(
    path: str | None,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float],
    std: Sequence[float],
    output: str | Sequence[int] | Reading | None = None,
    size: int = 0,
) -> Classifier:
    """An ONNX file as a classifier. Needs the extra onnx.

    It works for all that needs logits alone: do() on the image, attacks and detectors without gradients. A checkpoint
    of it holds the file.

    Args:
        path: the file, with its weights inside; the first input is the images.
        shape: (C, H, W) of the images.
        task, classes: as of `dovision.models`; both None: multiclass, and the outputs by number.
        mean, std: as of `dovision.models`; 0 and 1 where the file normalises.
        output: as of `Classifier`, where the file has several outputs.
        size: bytes of the file, in place of `path`, for a network whose file a checkpoint brings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: onnxruntime cannot read it, or no classes are given and the file does not say how many it has.

    Example:
        >>> dv.onnx("nowhere.onnx", (3, 32, 32), "multiclass", ["a", "b"], [0.0], [1.0])
        Traceback (most recent call last):
            ...
        FileNotFoundError: model.path must be an ONNX file that exists, but there is no nowhere.onnx.
    """
    content = np.zeros(min(size, _MOST_BYTES), np.uint8) if path is None else _content(path)
    network = _with_outputs(OnnxNetwork(content, str(path), output), classes)
    stated = named_task(network.outputs if classes is None else tuple(classes), task)
    classifier = Classifier(network, stated, mean, std, network.outer_reading)
    classifier.preprocessing = None if path is None else _preprocessing_of(network)
    return with_arguments(classifier, True, size=len(network.content))


def of_file(
    path: str, classes: Sequence[str] | int | None, output: str | Sequence[int] | Reading | None
) -> OnnxNetwork:
    """The network of a file, with as many outputs as classes, or as it says; errors as of `onnx`."""
    network = OnnxNetwork(_content(path, "network"), path, output)
    network.session()  # a file of another kind is refused here, and not at the first image
    return _with_outputs(network, classes)


def _with_outputs(network: OnnxNetwork, classes: Sequence[str] | int | None) -> OnnxNetwork:
    count = len(classes) if isinstance(classes, Sequence) else classes
    count = network.session().get_outputs()[0].shape[-1] if count is None else count
    if not isinstance(count, int):
        raise ValueError(f"{network.path} does not say how many classes it has. Set dataset.classes and dataset.task.")
    network.outputs = count
    return network


class OnnxNetwork(BlackBox):
    """Black box of an ONNX file, whose bytes are part of its state.

    Args:
        content: the file's bytes.
        path: of the file, for errors.
        output: as of `BlackBox`.
    """

    content: Tensor

    def __init__(self, content: np.ndarray, path: str, output: str | Sequence[int] | Reading | None) -> None:
        super().__init__(session_outputs, 0, output)
        self.path = path
        self.register_buffer("content", torch.from_numpy(content))
        self._session: Any = None

    def returned(self, image: Tensor) -> Any:
        return session_outputs(self.session(), image)

    def session(self) -> Any:
        """The session of onnxruntime, opened once.

        Raises:
            ImportError: onnxruntime is missing, or of a version that reads any file that a network names.
            ValueError: it cannot read the file.
        """
        if self._session is None:
            runtime = checks.import_extra("onnxruntime", "onnx")
            if tuple(map(int, runtime.__version__.split(".")[:2])) < _LEAST_VERSION:
                raise ImportError(
                    f"this component needs onnxruntime {'.'.join(map(str, _LEAST_VERSION))}, since older ones read any "
                    f"file that a network names, got {runtime.__version__}. Install it, with Python 3.11 or newer: "
                    f"{checks.install_command('onnx')}."
                )
            options = runtime.SessionOptions()  # weights outside would be read from the working directory: from none
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
            try:
                self._session = runtime.InferenceSession(
                    self.content.cpu().numpy().tobytes(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime has a class of errors for each reason, and no common one
                reason = str(error).splitlines()[0]
                raise ValueError(f"{self.path} must be an ONNX file with its weights inside, but: {reason}") from error
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the session, which cannot be copied; it is opened again."""
        return {**self.__dict__, "_session": None}


def _content(path: str, name: str = "model.path") -> np.ndarray:
    try:
        return np.frombuffer(files.read_bytes(path, _MOST_BYTES), np.uint8).copy()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name} must be an ONNX file that exists, but there is no {path}.") from error


def _preprocessing_of(network: OnnxNetwork) -> Preprocessing | None:
    """Height and width of the images that the network takes; None if they are free."""
    height, width = network.session().get_inputs()[0].shape[-2:]
    return Preprocessing(height) if isinstance(height, int) and height == width else None


def _preprocessing(settings: Mapping[str, Any]) -> Preprocessing | None:
    return _preprocessing_of(OnnxNetwork(_content(settings["path"]), settings["path"], None))


onnx.preprocessing = _preprocessing  # type: ignore[attr-defined]
onnx.trainable = False  # type: ignore[attr-defined]
