"""Stages by content: a classifier or an autoencoder is fitted once for all that shapes its fit, then found.

checkpoints/<network>-<hash of the key>/<network>.ckpt    the weights, with the name of this folder
                                        key.json          all that shapes the fit
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytorch_lightning as pl
from pytorch_lightning.utilities.seed import isolate_rng

from dovision import checks
from dovision.config.component import Component
from dovision.config.settings import TrainSettings
from dovision.identity.dependencies import CLASSIFIER, FOREIGN_WEIGHTS, NetworkKey
from dovision.identity.digests import stat_files
from dovision.interfaces import Classifier, Images
from dovision.io import files
from dovision.io.atomic import remove_partial
from dovision.io.locking import Lock
from dovision.io.text_files import write_json
from dovision.models import _catalogue, checkpoint
from dovision.results.run_record import MODEL
from dovision.training.checkpointing import EPOCH_FILE
from dovision.training.fitting import laid_out
from dovision.training.foreign import given_network
from dovision.training.trainer import limits, limits_in_words
from dovision.types import Shape, Task

log = logging.getLogger(__name__)
_KEY_FILE = "key.json"
FitResult: TypeAlias = tuple[Classifier, dict[str, Any]]  # a fitted network, and the record of its fit


class FittedModel(NamedTuple):
    """Fitted classifier with its file's scores and model settings."""

    classifier: Classifier
    path: Path
    weights: str  # a hash of the file
    scores: Mapping[str, float]
    model: Mapping[str, Any]
    foreign: Mapping[str, str]  # hashes of the files of another program that the weights come from


def read_or_fit(
    key: NetworkKey,
    settings: TrainSettings,
    fitted: Mapping[str, FittedModel],
    fit: Callable[[], FitResult],
    again: bool = False,
) -> FittedModel:
    """Read a network of a job, fitted before unless it is given or cached; concurrent processes wait.

    Random numbers of a fit begin from the seed, and change none of the job's.

    Args:
        key: of the network.
        settings: of the job.
        fitted: the networks before it, by name.
        fit: fits the network.
        again: fit it even if it is cached.
    """
    name, folder = key.name, key.path.parent
    if key.is_given:
        return read_model(key.path, settings, given=True)
    of_classifier = name == CLASSIFIER
    model = settings.model.record() if of_classifier else fitted[CLASSIFIER].model
    autoencoder = None if of_classifier else settings.code_of.record()
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / "lock"), isolate_rng():
        remove_partial(folder)
        if not again and _is_cached(key, {"model": model, "autoencoder": autoencoder}):
            log.info("found the %s%s: %s", "fitted " if key.fits else "", name, key.path)
        else:
            how = "fitting" if key.fits else "taking the given weights for"
            log.info("%s the %s: %s", how, name, key.path)
            if key.fits and (limited := limits(settings.trainer)):
                log.warning("trial fit, not a result: limited by %s", limits_in_words(limited))
            write_json(folder / _KEY_FILE, key.content)
            pl.seed_everything(settings.seed, verbose=False)
            network, record = fit() if key.fits else _given(settings, dict(key.content.get(FOREIGN_WEIGHTS, {})))
            checkpoint.save_checkpoint(key.path, network, model, autoencoder, {"fit": folder.name, **record})
        model_of_file = read_model(key.path, settings)
        (folder / EPOCH_FILE).unlink(missing_ok=True)
    return model_of_file


def _given(settings: TrainSettings, origin: Mapping[str, str]) -> FitResult:
    """Network of weights that nothing fits, and its record."""
    weights = settings.foreign_checkpoint
    network = laid_out(given_network(settings.model, weights, origin))
    return network, {"scores": {}, "limits": {}, **({FOREIGN_WEIGHTS: origin} if origin else {})}


def read_model(path: Path, settings: TrainSettings, given: bool = False) -> FittedModel:
    """Read a classifier and its description from a file.

    Args:
        path: of the checkpoint.
        settings: of the job; networks other than its own are made only of what the package's models are, or if the
            file is trusted to name any function that can be imported.
        given: whether the job names the file, and is warned if its fit was limited.

    Raises:
        FileNotFoundError, ValueError: see `checkpoint.read_checkpoint`; or another file has taken its place meanwhile.
    """
    before = stat_files([path])
    content, weights = checkpoint.read_checkpoint(path), files.sha256(path)[:12]
    if stat_files([path]) != before:
        raise ValueError(f"the checkpoint {path} must stay as it is while it is read, got another one. Read it again.")
    described = content["facts"]
    if given and (limited := described.get("limits")):
        log.warning("%s is a trial fit, limited by %s", path, limits_in_words(limited))

    def made(network: Mapping[str, Any]) -> Any:
        for node in (settings.model, settings.autoencoder):
            if node is not None and network == checkpoint.without_start(node.record()):
                return Component(node.where, checkpoint.without_start(dict(node))).make()
        return _catalogue.build(network, settings.trust_checkpoint)

    with isolate_rng():  # so that the numbers that a job draws do not depend on the networks that it reads
        classifier = laid_out(checkpoint.rebuilt(path, content, made))
    return FittedModel(
        classifier, path, weights, described.get("scores", {}), content["model"], described.get(FOREIGN_WEIGHTS, {})
    )


def inputs_record(images: Images, models: Mapping[str, FittedModel]) -> dict[str, Any]:
    """Record of a run's data, of the model that it measured, and of the networks that it used, by their names."""
    foreign = dict(models[CLASSIFIER].foreign)
    return {
        "dataset_fingerprint": images.fingerprint,
        MODEL: dict(models[CLASSIFIER].model),
        "dataset": dict(images.recorded),
        "bad_files": list(images.bad_files),
        "checkpoints": {name: model.weights for name, model in models.items()},
        "checkpoint_files": {name: str(model.path) for name, model in models.items()},
        "scores": {name: dict(model.scores) for name, model in models.items()},
        **({FOREIGN_WEIGHTS: foreign} if foreign else {}),
    }


def _is_cached(key: NetworkKey, components: Mapping[str, Any]) -> bool:
    """Return whether the cache has an intact checkpoint of this fit and model.

    It lies in a folder that others may write to: what it names is not trusted for lying there.
    """
    path, fit = key.path, key.path.parent.name
    if not path.exists():
        return False
    try:
        content = checkpoint.read_checkpoint(path)
    except ValueError as error:
        log.warning("%s It is refitted.", error)
        return False
    if any(_without_start(content[name]) != _without_start(settings) for name, settings in components.items()):
        log.warning("%s is refitted: it names another model", path)
        return False
    if (other := content["facts"].get("fit")) != fit:
        log.warning("%s is refitted: it is of another fit, %s", path, other)
        return False
    return True


def _without_start(settings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if settings is None else checkpoint.without_start(settings)


def check_fits(model: FittedModel, task: Task, shape: Shape) -> None:
    """Raise for a classifier fitted to another task or image shape.

    Raises:
        ValueError: its classes or its image shape are others.
    """
    fitted, shape_of_fit = model.classifier.task, tuple(model.model["shape"])
    if (fitted.kind, fitted.classes) != (task.kind, task.classes):
        raise ValueError(
            f"the checkpoint {model.path} must have the dataset's {len(task.classes)} classes "
            f"({task.kind}: {checks.listed(task.classes)}), got {len(fitted.classes)} "
            f"({fitted.kind}: {checks.listed(fitted.classes)}). Choose its dataset, or another checkpoint."
        )
    if shape_of_fit != tuple(shape):
        raise ValueError(
            f"the checkpoint {model.path} must be fitted to the dataset's image shape {list(shape)}, "
            f"got {list(shape_of_fit)}. Set dataset.shape, or choose another checkpoint."
        )
