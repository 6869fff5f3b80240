"""Checkpoints of tensors and plain types, from which a classifier is rebuilt without any configuration."""

from __future__ import annotations

import importlib
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dovision import checks
from dovision.contracts import Classifier
from dovision.models.conv_autoencoder import ConvAutoencoder, insert

FORMAT = 1
PACKAGE = "dovision.models."
START = {"weights": None, "checkpoint_file": None, "pretrained": False}  # arguments that say where training starts


def save(
    path: Path,
    classifier: Classifier,
    model: Mapping[str, Any],
    autoencoder: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
) -> None:
    """Write a checkpoint that `load` rebuilds from the file alone.

    Args:
        path: written under a temporary name, and renamed when complete.
        classifier: with its autoencoder inserted, if `autoencoder` is given.
        model: `_target_` and plain arguments of the function that makes the classifier.
        autoencoder: `_target_` and plain arguments of the inserted autoencoder.
        facts: anything plain that is worth keeping: scores, seed, data; the task's thresholds are added.
    """
    thresholds = classifier.task.thresholds
    content = {
        "format": FORMAT,
        "model": checks.plain("model", model),
        "autoencoder": checks.plain("autoencoder", autoencoder),
        "facts": checks.plain("facts", {**facts, "thresholds": thresholds} if thresholds else facts),
        "state": {name: tensor.detach().cpu().clone() for name, tensor in classifier.state_dict().items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(content, temporary)
    os.replace(temporary, path)


def load(path: str | Path, trust_checkpoint: bool = False) -> Classifier:
    """The classifier of a checkpoint, with its thresholds, in eval mode on the CPU.

    Args:
        path: a file written by `save`.
        trust_checkpoint: let the file name a model outside this package, which is then imported and run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint of this package, is damaged, or asks to run foreign code.
    """
    content = read(path)
    model = {name: START.get(name, value) for name, value in content["model"].items()}  # the weights are in `state`
    classifier = _make(model, path, trust_checkpoint)
    if content["autoencoder"] is not None:
        autoencoder: ConvAutoencoder = _make(dict(content["autoencoder"]), path, trust_checkpoint)
        classifier = insert(classifier, autoencoder, tuple(model["shape"]))
    classifier.load_state_dict(content["state"])
    classifier.task = replace(classifier.task, thresholds=tuple(content["facts"].get("thresholds", ())))
    return classifier.eval()


def read(path: str | Path) -> dict[str, Any]:
    """The plain content of a checkpoint: format, model, autoencoder, facts, state."""
    content = read_plain(path, "Save it again with dovision.save.")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"the checkpoint {path} must be of dovision's format {FORMAT}, got {got!r}.")
    return content


def require(path: str | Path) -> None:
    """Raise unless the file of a checkpoint exists.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}. Name a file that exists, or null for none.")


def read_plain(path: str | Path, remedy: str) -> Any:
    """What torch.save wrote into a file, on the CPU, if that is tensors and plain types only.

    Args:
        remedy: a sentence for a file that holds other objects.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds other objects, or is damaged.
    """
    require(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(
            f"the checkpoint {path} must hold tensors and plain types only, but it holds other objects"
            f"{f' ({found[1]})' if found else ''}, which could run code when read; it was not opened. {remedy}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"the checkpoint {path} cannot be read: {error}. Train it anew, or copy it again.") from error


def _make(settings: dict[str, Any], path: str | Path, trusted: bool) -> Any:
    target = settings.pop("_target_")
    if not trusted and not target.startswith(PACKAGE):
        raise ValueError(
            f"the checkpoint {path} names {target}, which is not one of this package's models. "
            "If you trust the file, say so: trust_checkpoint=true."
        )
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)(**settings)
