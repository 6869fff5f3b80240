"""Stages by content: a classifier or an autoencoder is fitted once per (data, model, training, seed), then found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.utilities.seed import isolate_rng

from dovision import identity
from dovision.contracts import Classifier, Images
from dovision.fitting import fit_autoencoder, fit_classifier, laid_out
from dovision.learning.epochs import FILE
from dovision.learning.randomised import PermutedLabels
from dovision.locking import Lock
from dovision.models import checkpoint
from dovision.requirements import need_autoencoder
from dovision.results.files import write_text

log = logging.getLogger(__name__)
SUM = ".sum"  # beside a checkpoint, the hash of its bytes


class Stage(NamedTuple):
    """A fitted classifier, the file that it was read from, and its scores on the validation images."""

    classifier: Classifier
    path: Path
    scores: Mapping[str, float]


def classifier(config: DictConfig, images: Images) -> Stage:
    """The classifier of `checkpoint`, or that of the configured data, model, training and seed, fitted if need be.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's.
    """
    if config.checkpoint is not None:
        stage = _read(Path(config.checkpoint), config.trust_checkpoint)
        _check_fits(stage, images)
        return stage
    return _fitted(config, images)


def permuted(config: DictConfig, images: Images) -> Stage:
    """A classifier of the same model and training, fitted to labels dealt anew: its maps have nothing to show.

    Raises:
        ValueError: the configured training fits nothing.
    """
    if config.training.classifier.epochs == 0:
        raise ValueError(
            "evaluation.permuted_labels needs a classifier to be fitted, got training.classifier.epochs=0. "
            "Set evaluation.permuted_labels=false, or some epochs."
        )
    return _fitted(config, PermutedLabels(images, config.seed))


def with_autoencoder(config: DictConfig, images: Images, plain: Stage) -> Stage:
    """The classifier with its causal autoencoder inserted, fitted if need be.

    Raises:
        ValueError: no autoencoder is configured.
    """
    need_autoencoder(config)
    path = _autoencoder_path(config, images, plain.path)
    return _stage(config, path, lambda path: fit_autoencoder(config, images, plain.classifier, plain.path, path))


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
    return _stage(config, path, lambda path: fit_classifier(config, images, path))


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


def _stage(config: DictConfig, path: Path, fit: Callable[[Path], None]) -> Stage:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.parent / "lock"):
        if _is_whole(path):
            log.info("found the fitted %s: %s", path.stem, path)
        else:
            log.info("fitting the %s: %s", path.stem, path)
            with isolate_rng():
                pl.seed_everything(config.seed, verbose=False)
                fit(path)
            write_text(path.with_suffix(SUM), identity.file_hash(path))
        (path.parent / FILE).unlink(missing_ok=True)
    return _read(path, trust=True)


def _is_whole(path: Path) -> bool:
    """Whether a fitted checkpoint is there, and of the bytes that were written."""
    if not path.exists():
        return False
    kept = path.with_suffix(SUM)
    whole = not kept.exists() or kept.read_text() == identity.file_hash(path)
    if not whole:
        log.warning("%s is damaged, and is fitted again", path)
    return whole


def _read(path: Path, trust: bool) -> Stage:
    return Stage(laid_out(checkpoint.load(path, trust)), path, checkpoint.read(path)["facts"].get("scores", {}))


def _check_fits(stage: Stage, images: Images) -> None:
    task, shape = stage.classifier.task, tuple(checkpoint.read(stage.path)["model"]["shape"])
    if task != images.task:
        raise ValueError(
            f"the checkpoint {stage.path} must have the dataset's {len(images.task.classes)} classes "
            f"({images.task.kind}: {', '.join(images.task.classes)}), got {len(task.classes)} "
            f"({task.kind}: {', '.join(task.classes)}). Choose its dataset, or another checkpoint."
        )
    if shape != tuple(images.shape):
        raise ValueError(
            f"the checkpoint {stage.path} must be fitted to the dataset's image shape {list(images.shape)}, "
            f"got {list(shape)}. Set dataset.shape, or choose another checkpoint."
        )
