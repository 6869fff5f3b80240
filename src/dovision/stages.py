"""Stages by content: a classifier or an autoencoder is fitted once per (data, model, training, seed), then found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.seed import isolate_rng

from dovision import identity
from dovision.atomic import remove_partial
from dovision.configuration import recorded
from dovision.contracts import Classifier, Images, Shape, Task
from dovision.fitting import fit_autoencoder, fit_classifier, laid_out
from dovision.learning.epochs import FILE
from dovision.learning.randomised import PermutedLabels
from dovision.locking import Lock
from dovision.models import catalogue, checkpoint
from dovision.requirements import need_autoencoder, need_epochs
from dovision.session import make

log = logging.getLogger(__name__)
Settings = tuple[Mapping[str, Any], Mapping[str, Any] | None]  # of the model and of the autoencoder, as recorded


class Stage(NamedTuple):
    """A fitted classifier, its file, its scores on the validation images, and the settings of its model there."""

    classifier: Classifier
    path: Path
    scores: Mapping[str, float]
    model: Mapping[str, Any]


def classifier(config: DictConfig, images: Images) -> Stage:
    """The classifier of `checkpoint`, or that of the configured data, model, training and seed, fitted if need be.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's.
    """
    if config.checkpoint is not None:
        stage = read(config, Path(config.checkpoint))
        check_fits(stage, images.task, images.shape)
        return stage
    return _fitted(config, images)


def permuted(config: DictConfig, images: Images) -> Stage:
    """A classifier of the same model and training, fitted to labels dealt anew: its maps have nothing to show.

    Raises:
        ValueError: the configured training fits nothing.
    """
    need_epochs(config)
    return _fitted(config, PermutedLabels(images, config.seed))


def with_autoencoder(config: DictConfig, images: Images, plain: Stage) -> Stage:
    """The classifier with its causal autoencoder inserted, fitted if need be.

    Raises:
        ValueError: no autoencoder is configured.
    """
    need_autoencoder(config)
    path = _autoencoder_path(config, images, plain.path)
    settings = plain.model, recorded(config.autoencoder)
    return _stage(
        config, path, settings, lambda path: fit_autoencoder(config, images, plain.classifier, plain.path, path)
    )


def missing(config: DictConfig, images: Images, code: bool) -> list[Path]:
    """The checkpoints that a run would fit; the autoencoder's, if its code is intervened on, is named last."""
    if config.checkpoint is not None:
        plain, lacking = Path(config.checkpoint), []
    else:
        plain = _classifier_path(config, images)
        lacking = [] if plain.exists() else [plain]
    if not code:
        return lacking
    if lacking:  # the autoencoder's name depends on the classifier's weights
        return [*lacking, plain.parent / identity.content_hash(identity.plain(config.autoencoder))]
    inserted = _autoencoder_path(config, images, plain)
    return [] if inserted.exists() else [inserted]


def facts(images: Images, plain: Stage, measured: Stage) -> dict[str, Any]:
    """What a run records of its data and of the checkpoints that it used."""
    files = {stage.path.stem: stage for stage in (plain, measured)}
    return {
        "dataset_fingerprint": images.fingerprint,
        "dataset": dict(images.facts),
        "bad_files": list(images.bad_files),
        "checkpoints": {name: identity.file_hash(stage.path) for name, stage in files.items()},
        "checkpoint_files": {name: str(stage.path) for name, stage in files.items()},
        "scores": {name: dict(stage.scores) for name, stage in files.items()},
    }


def _fitted(config: DictConfig, images: Images) -> Stage:
    path = _classifier_path(config, images)
    return _stage(config, path, (recorded(config.model), None), lambda path: fit_classifier(config, images, path))


def _classifier_path(config: DictConfig, images: Images) -> Path:
    model = identity.plain(config.model)
    key = {"data": images.fingerprint, "model": model, "training": identity.plain(config.training.classifier)}
    start = model.get("checkpoint_file")
    if start is not None and Path(start).is_file():
        key["start"] = identity.file_hash(Path(start))
    return _path(config, "classifier", key)


def _autoencoder_path(config: DictConfig, images: Images, plain: Path) -> Path:
    key = {
        "data": images.fingerprint,
        "classifier": identity.file_hash(plain),
        "autoencoder": identity.plain(config.autoencoder),
        "training": identity.plain(config.training.autoencoder),
    }
    return _path(config, "autoencoder", key)


def _path(config: DictConfig, kind: str, key: Mapping[str, Any]) -> Path:
    name = identity.content_hash({**key, "seed": config.seed})
    return Path(config.output_root) / "checkpoints" / f"{kind}-{name}" / f"{kind}.ckpt"


def _stage(config: DictConfig, path: Path, settings: Settings, fit: Callable[[Path], None]) -> Stage:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.parent / "lock"):
        remove_partial(path.parent)
        if _is_found(path, settings):
            log.info("found the fitted %s: %s", path.stem, path)
        else:
            log.info("fitting the %s: %s", path.stem, path)
            with isolate_rng():
                pl.seed_everything(config.seed, verbose=False)
                fit(path)
        (path.parent / FILE).unlink(missing_ok=True)
    return read(config, path)


def _is_found(path: Path, settings: Settings) -> bool:
    """Whether a fitted checkpoint is there, of the bytes that were written, and names what this job would fit.

    It lies in a folder that others may write to: what it names is not trusted for lying there.
    """
    if not path.exists():
        return False
    try:
        content = checkpoint.read(path)
    except ValueError as error:
        log.warning("%s It is fitted again.", error)
        return False
    same = all(
        _without_start(found) == _without_start(own)
        for found, own in zip((content["model"], content["autoencoder"]), settings, strict=True)
    )
    if not same:
        log.warning("%s names another model than this job fits, and is fitted again", path)
    return same


def _without_start(settings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if settings is None else checkpoint.without_start(settings)


def read(config: DictConfig, path: Path) -> Stage:
    """The classifier of a file, with what it was fitted as."""
    content = checkpoint.read(path)

    def made(settings: Mapping[str, Any]) -> Any:
        for node in (config.model, config.autoencoder):
            if node is not None and settings == checkpoint.without_start(recorded(node)):
                return make(OmegaConf.create(checkpoint.without_start(identity.plain(node))))
        return (catalogue.make_any if config.trust_checkpoint else catalogue.make)(settings)

    classifier = laid_out(checkpoint.rebuilt(path, content, made))
    return Stage(classifier, path, content["facts"].get("scores", {}), content["model"])


def check_fits(stage: Stage, task: Task, shape: Shape) -> None:
    """Refuse a classifier that was fitted to other data than those of this task and image shape.

    Raises:
        ValueError: its classes or its image shape are others.
    """
    own, fitted = stage.classifier.task, tuple(stage.model["shape"])
    if (own.kind, own.classes) != (task.kind, task.classes):
        raise ValueError(
            f"the checkpoint {stage.path} must have the dataset's {len(task.classes)} classes "
            f"({task.kind}: {', '.join(task.classes)}), got {len(own.classes)} "
            f"({own.kind}: {', '.join(own.classes)}). Choose its dataset, or another checkpoint."
        )
    if fitted != tuple(shape):
        raise ValueError(
            f"the checkpoint {stage.path} must be fitted to the dataset's image shape {list(shape)}, "
            f"got {list(fitted)}. Set dataset.shape, or choose another checkpoint."
        )
