"""Stages by content: a classifier or an autoencoder is fitted once for all that shapes its fit, then found.

checkpoints/<kind>-<hash of the key>/<kind>.ckpt    the weights, with the name of this folder
                                     key.json       all that shapes the fit
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.seed import isolate_rng

from dovision.config import hashing
from dovision.config.instantiate import instantiate
from dovision.config.requirements import need_autoencoder, need_epochs
from dovision.config.sources import recorded
from dovision.interfaces import Classifier, Images
from dovision.io.atomic import remove_partial
from dovision.io.files import sha256
from dovision.io.locking import Lock
from dovision.io.text_files import read_json, write_json
from dovision.models import _catalogue, checkpoint
from dovision.store import config_diff
from dovision.store.named_files import files_named
from dovision.store.provenance import software
from dovision.training.checkpointing import EPOCH_FILE
from dovision.training.fitting import fit_autoencoder, fit_classifier, laid_out
from dovision.training.sanity_checks import PermutedLabels
from dovision.types import Shape, Task

log = logging.getLogger(__name__)
CLASSIFIER, PERMUTED, AUTOENCODER = "classifier", "permuted_classifier", "autoencoder"  # the networks of a run
_KEY_FILE = "key.json"
Digest = Callable[[Path], str]
NetworkSettings = tuple[Mapping[str, Any], Mapping[str, Any] | None]  # of the model and of the autoencoder, as recorded


class FittedModel(NamedTuple):
    """A fitted classifier and what its file says: its scores on the validation images, the settings of its model."""

    classifier: Classifier
    path: Path
    weights: str  # a hash of the file
    scores: Mapping[str, float]
    model: Mapping[str, Any]


class Key(NamedTuple):
    """All that shapes a fit, but for the device and the number of threads."""

    kind: str  # classifier or autoencoder
    name: str  # of the fit's folder, with a hash of all of it
    parts: Mapping[str, DictConfig]  # of the configuration
    around: Mapping[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        """All of it, as it is written."""
        written = {name: recorded(node) for name, node in self.parts.items()}
        return {**hashing.without_irrelevant(written), **self.around}


def classifier(config: DictConfig, images: Images) -> FittedModel:
    """The classifier of `checkpoint`, or that of the configured data, model, training and seed, fitted if need be.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's.
    """
    if config.checkpoint is not None:
        model = read_model(config, Path(config.checkpoint))
        check_fits(model, images.task, images.shape)
        return model
    return _fitted(config, images, images.fingerprint)


def permuted(config: DictConfig, images: Images) -> FittedModel:
    """A classifier of the same model and training, fitted to permuted labels: its maps have nothing to show.

    Raises:
        ValueError: the configured training fits nothing.
    """
    need_epochs(config)
    return _fitted(config, PermutedLabels(images, config.seed), images.fingerprint, permuted=True)


def with_autoencoder(config: DictConfig, images: Images, plain: FittedModel) -> FittedModel:
    """The classifier with its causal autoencoder inserted, fitted if need be.

    Raises:
        ValueError: no autoencoder is configured.
    """
    need_autoencoder(config)
    key = _autoencoder_key(config, images.fingerprint, plain.weights)
    settings = plain.model, recorded(config.autoencoder)
    return _cached_or_fitted(
        config, key, settings, lambda path: fit_autoencoder(config, images, plain.classifier, plain.path, path)
    )


def file(config: DictConfig, name: str, data: str, classifier: str, digest: Digest = sha256) -> Path:
    """Path of the weights of a network, there or to be written.

    Args:
        config: of the job.
        name: classifier, permuted_classifier or autoencoder.
        data: the fingerprint of the images.
        classifier: a hash of the classifier's file, which determines where the autoencoder is that was fitted to it.
        digest: of a file that the configuration names.
    """
    if name == AUTOENCODER:
        return _path(config, _autoencoder_key(config, data, classifier, digest))
    if name == CLASSIFIER and config.checkpoint is not None:
        return Path(config.checkpoint)
    return _path(config, _classifier_key(config, data, name == PERMUTED, digest))


def checkpoint_paths(config: DictConfig, data: str, names: Collection[str]) -> dict[str, Path]:
    """The checkpoints of networks, there or not, by their names.

    As long as the classifier is not fitted, that of its autoencoder, whose name depends on the classifier's weights,
    stands under a name that is no file's.

    Args:
        config: of the job.
        data: the fingerprint of the images.
        names: classifier, permuted_classifier, autoencoder.
    """
    plain = file(config, CLASSIFIER, data, "")
    found = {CLASSIFIER: plain}
    if PERMUTED in names:
        found[PERMUTED] = file(config, PERMUTED, data, "")
    if AUTOENCODER in names and plain.exists():
        found[AUTOENCODER] = file(config, AUTOENCODER, data, hashing.file_hash(plain))
    elif AUTOENCODER in names:
        own = {"autoencoder": config.autoencoder, "training": config.training.autoencoder}
        found[AUTOENCODER] = plain.parent / hashing.content_hash({k: hashing.resolved(v) for k, v in own.items()})
    return found


def facts(images: Images, models: Mapping[str, FittedModel]) -> dict[str, Any]:
    """Record of a run's data and of the networks that it used, by their names (see `file`)."""
    return {
        "dataset_fingerprint": images.fingerprint,
        "dataset": dict(images.facts),
        "bad_files": list(images.bad_files),
        "checkpoints": {name: model.weights for name, model in models.items()},
        "checkpoint_files": {name: str(model.path) for name, model in models.items()},
        "scores": {name: dict(model.scores) for name, model in models.items()},
    }


def _fitted(config: DictConfig, images: Images, data: str, permuted: bool = False) -> FittedModel:
    key = _classifier_key(config, data, permuted)
    return _cached_or_fitted(
        config, key, (recorded(config.model), None), lambda path: fit_classifier(config, images, path)
    )


def _classifier_key(config: DictConfig, data: str, permuted: bool, digest: Digest = sha256) -> Key:
    parts = {"model": config.model, "training": config.training.classifier, "trainer": config.trainer}
    return _key(
        CLASSIFIER, parts, digest, data=data, labels="permuted" if permuted else "as they are", seed=config.seed
    )


def _autoencoder_key(config: DictConfig, data: str, classifier: str, digest: Digest = sha256) -> Key:
    parts = {
        "autoencoder": config.autoencoder,
        "training": config.training.autoencoder,
        "trainer": config.trainer,
    }
    return _key(AUTOENCODER, parts, digest, data=data, classifier=classifier, seed=config.seed)


def _key(kind: str, parts: Mapping[str, DictConfig], digest: Digest, **known: Any) -> Key:
    configured = hashing.without_irrelevant({name: hashing.resolved(node) for name, node in parts.items()})
    around = {
        **known,
        **software(),
        "code": hashing.fitting_code_hash(),
        "components": hashing.foreign_code(configured),
        "files": files_named(configured, digest),
    }
    name = f"{kind}-{hashing.content_hash({**configured, **around})}"
    return Key(kind, name, parts, around)


def _path(config: DictConfig, key: Key) -> Path:
    return Path(config.output_root) / "checkpoints" / key.name / f"{key.kind}.ckpt"


def _cached_or_fitted(
    config: DictConfig, key: Key, settings: NetworkSettings, fit: Callable[[Path], None]
) -> FittedModel:
    path = _path(config, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.parent / "lock"):
        remove_partial(path.parent)
        if _is_found(path, settings):
            log.info("found the fitted %s: %s", path.stem, path)
        else:
            log.info("fitting the %s: %s%s", path.stem, path, _unlike(path.parent, key))
            write_json(path.parent / _KEY_FILE, key.content)
            with isolate_rng():
                pl.seed_everything(config.seed, verbose=False)
                fit(path)
        (path.parent / EPOCH_FILE).unlink(missing_ok=True)
    return read_model(config, path)


def _unlike(folder: Path, key: Key) -> str:
    """In what the nearest of the models that are fitted already differs from one that is not; to be added to a line."""
    own, nearest = config_diff.flattened(key.content), None
    for path in folder.parent.glob(f"{key.kind}-*/{_KEY_FILE}"):
        with suppress(OSError, ValueError):
            other = config_diff.flattened(read_json(path))
            unlike = sorted(name for name in {*own, *other} if own.get(name) != other.get(name))
            nearest = unlike if unlike and (nearest is None or len(unlike) < len(nearest)) else nearest
    return "" if nearest is None else f" (the nearest fitted one differs in {', '.join(nearest)})"


def _is_found(path: Path, settings: NetworkSettings) -> bool:
    """Return whether a fitted checkpoint is there, of the bytes that were written, and names what this job would fit.

    It lies in a folder that others may write to: what it names is not trusted for lying there.
    """
    if not path.exists():
        return False
    try:
        content = checkpoint.read_checkpoint(path)
    except ValueError as error:
        log.warning("%s It is fitted again.", error)
        return False
    same = all(
        _without_start(found) == _without_start(own)
        for found, own in zip((content["model"], content["autoencoder"]), settings, strict=True)
    )
    fit = content["facts"].get("fit")
    if not same:
        log.warning("%s names another model than this job fits, and is fitted again", path)
    elif fit != path.parent.name:
        log.warning("%s is of another fit, %s, and is fitted again", path, fit)
    return same and fit == path.parent.name


def _without_start(settings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if settings is None else checkpoint.without_start(settings)


def read_model(config: DictConfig, path: Path) -> FittedModel:
    """The classifier of a file, with what it was fitted as."""
    content = checkpoint.read_checkpoint(path)

    def made(settings: Mapping[str, Any]) -> Any:
        for node in (config.model, config.autoencoder):
            if node is not None and settings == checkpoint.without_start(recorded(node)):
                return instantiate(OmegaConf.create(checkpoint.without_start(hashing.resolved(node))))
        return (_catalogue.make_any if config.trust_checkpoint else _catalogue.build)(settings)

    classifier = laid_out(checkpoint.rebuilt(path, content, made))
    return FittedModel(classifier, path, hashing.file_hash(path), content["facts"].get("scores", {}), content["model"])


def check_fits(model: FittedModel, task: Task, shape: Shape) -> None:
    """Refuse a classifier that was fitted to other data than those of this task and image shape.

    Raises:
        ValueError: its classes or its image shape are others.
    """
    own, fitted = model.classifier.task, tuple(model.model["shape"])
    if (own.kind, own.classes) != (task.kind, task.classes):
        raise ValueError(
            f"the checkpoint {model.path} must have the dataset's {len(task.classes)} classes "
            f"({task.kind}: {', '.join(task.classes)}), got {len(own.classes)} "
            f"({own.kind}: {', '.join(own.classes)}). Choose its dataset, or another checkpoint."
        )
    if fitted != tuple(shape):
        raise ValueError(
            f"the checkpoint {model.path} must be fitted to the dataset's image shape {list(shape)}, "
            f"got {list(fitted)}. Set dataset.shape, or choose another checkpoint."
        )
