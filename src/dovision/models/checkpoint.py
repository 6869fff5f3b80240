"""Checkpoints of tensors and plain types, from which a classifier is rebuilt without any configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.models import _catalogue
from dovision.models.conv_autoencoder import insert
from dovision.types import Preprocessing

# arguments that say where training starts
WEIGHTS = {"weights": None, "checkpoint_file": None, "pretrained": False}
START = {**WEIGHTS, "source": None}  # the same, and where a network is described
_CONTENT: dict[str, Any] = {"model": dict, "autoencoder": (dict, type(None)), "facts": dict, "state": dict}
Make = Callable[[Mapping[str, Any]], Any]


def save_checkpoint(
    path: Path,
    classifier: Classifier,
    model: Mapping[str, Any],
    autoencoder: Mapping[str, Any] | None,
    description: Mapping[str, Any],
) -> None:
    """Write a checkpoint that `load` rebuilds from the file alone.

    Args:
        path: written under a temporary name, and renamed when complete.
        classifier: with its autoencoder inserted, if `autoencoder` is given.
        model: `_target_` and plain arguments of the function that makes the classifier.
        autoencoder: `_target_` and plain arguments of the inserted autoencoder.
        description: scores, seed, data and the like, in plain types; the task's thresholds are added, and the
            classifier's own `arguments` and `preprocessing`.
    """
    added = {"thresholds": classifier.task.thresholds, "arguments": classifier.arguments}
    if (trained := classifier.preprocessing) is not None:
        added["preprocessing"] = {"pixels": trained.pixels, "resize": trained.resize._asdict()}
    content = {
        "format": sealed.SEAL_FORMAT,
        "model": checks.plain_value("model", model),
        "autoencoder": checks.plain_value("autoencoder", autoencoder),
        "facts": checks.plain_value(
            "facts", {**description, **{name: value for name, value in added.items() if value}}
        ),
        "state": {name: tensor.detach().cpu().clone() for name, tensor in classifier.state_dict().items()},
    }
    sealed.write_sealed(path, content)


def load(path: str | Path, trust_checkpoint: bool = False) -> Classifier:
    """Load the classifier of a checkpoint, with its thresholds, in eval mode on the CPU.

    Args:
        path: a file written by `save_checkpoint`.
        trust_checkpoint: let the file name any function that can be imported, which is then run; otherwise only what is
            in this package's `models` is made.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint of this package, is damaged, or names what is none of its models.

    Example:
        >>> dv.load("nowhere.ckpt")
        Traceback (most recent call last):
            ...
        FileNotFoundError: there is no checkpoint nowhere.ckpt. Name a file that exists, or null for none.
    """
    return rebuilt(path, read_checkpoint(path), partial(_catalogue.build, trusted=trust_checkpoint))


def rebuilt(path: str | Path, content: Mapping[str, Any], make: Make) -> Classifier:
    """Rebuild the classifier from the content of `read_checkpoint`; errors as of `load`.

    `make` takes settings (`_target_` and arguments) to the classifier or autoencoder.
    """
    try:
        classifier = make(without_start({**content["model"], **content["facts"].get("arguments", {})}))
        if content["autoencoder"] is not None:
            autoencoder = make(without_start(content["autoencoder"]))
            classifier = insert(classifier, autoencoder, tuple(content["model"]["shape"]))
        classifier.load_state_dict(content["state"])
        classifier.task = replace(classifier.task, thresholds=tuple(content["facts"].get("thresholds", ())))
        if (trained := content["facts"].get("preprocessing")) is not None:
            classifier.preprocessing = Preprocessing.of(trained)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the checkpoint {path} cannot be rebuilt: {' '.join(str(error).split())}") from error
    return classifier.eval()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the plain content of a checkpoint: format, model, autoencoder, facts, state.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint of this package, or is damaged.
    """
    content = sealed.read_sealed(path)
    complete = isinstance(content, dict) and all(
        isinstance(content.get(name), expected) for name, expected in _CONTENT.items()
    )
    if not complete or not all(isinstance(tensor, Tensor) for tensor in content["state"].values()):
        raise ValueError(
            f"the checkpoint {path} must hold {', '.join(_CONTENT)}, got something else. Name another file."
        )
    return content


def without_start(model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model without other weight files, since a checkpoint has its own."""
    return {name: START.get(name, value) for name, value in model.items()}


def without_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model with random weights, which may still read its architecture."""
    return {name: WEIGHTS.get(name, value) for name, value in model.items()}
