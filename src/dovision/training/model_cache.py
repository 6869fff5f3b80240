"""Stages by content: a classifier or an autoencoder is fitted once for all that shapes its fit, then found.

checkpoints/<kind>-<hash of the key>/<kind>.ckpt    the weights, with the name of this folder
                                     key.json       all that shapes the fit
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.seed import isolate_rng

from dovision import checks
from dovision.config import hashing
from dovision.config.component import Component
from dovision.config.settings import Section, TrainSettings, plain
from dovision.interfaces import Classifier, Images
from dovision.io.atomic import remove_partial
from dovision.io.files import sha256
from dovision.io.locking import Lock
from dovision.io.text_files import read_json, write_json
from dovision.models import _catalogue, checkpoint
from dovision.propagation.engine_choice import forget_choices
from dovision.propagation.weights_stamp import weights_stamp
from dovision.runtime.fingerprints import SETTLED, stat_files
from dovision.store import config_diff
from dovision.store.provenance import files_named, software
from dovision.store.run_record import MODEL
from dovision.training.checkpointing import EPOCH_FILE
from dovision.training.fit_callbacks import of_fit
from dovision.training.fitting import (
    fit_autoencoder,
    fit_classifier,
    laid_out,
    save_as_given,
)
from dovision.training.foreign import FOREIGN_WEIGHTS, save_foreign
from dovision.training.named_loggers import named_loggers
from dovision.training.sanity_checks import PermutedLabels
from dovision.training.trainer import limits, limits_in_words
from dovision.types import Shape, Task

log = logging.getLogger(__name__)
CLASSIFIER, PERMUTED, AUTOENCODER = "classifier", "permuted_classifier", "autoencoder"  # the networks of a run
_KEY_FILE = "key.json"
_SHARED_MODELS = 2  # held for later jobs of a sweep
_MOST_NAMED = 8  # settings in which a model differs from one that is fitted
Digest = Callable[[Path], str]
Parts = Mapping[str, Component | Section | Mapping[str, Component] | Path | None]
NetworkSettings = tuple[Mapping[str, Any], Mapping[str, Any] | None]  # of the model and of the autoencoder, as recorded


class FittedModel(NamedTuple):
    """A fitted classifier and what its file says: its scores on the validation images, the settings of its model."""

    classifier: Classifier
    path: Path
    weights: str  # a hash of the file
    scores: Mapping[str, float]
    model: Mapping[str, Any]
    foreign: Mapping[str, str]  # hashes of the files of another program that the weights come from


class Key(NamedTuple):
    """All that shapes a fit, but for the device and the number of threads."""

    kind: str  # classifier or autoencoder
    name: str  # of the fit's folder, with a hash of all of it
    parts: Parts  # of the settings
    around: Mapping[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        """All of it, as it is written."""
        return {**hashing.relevant_to_fits(plain(self.parts, record=True)), **self.around}


def classifier(
    settings: TrainSettings, images: Images, again: bool = False, loggers: Sequence[Logger] = ()
) -> FittedModel:
    """The classifier of `checkpoint`, or that of the configured data, model, training and seed, fitted if need be.

    One that is not fitted has the weights of its model; images without labels take its classes.

    Args:
        settings: of the job.
        images: which it is fitted to.
        again: fit it even if a fitted one is found.
        loggers: of its curves.

    Raises:
        ValueError: the checkpoint's classes or image shape are not the dataset's.
    """
    if settings.checkpoint is not None and settings.foreign_checkpoint is None:
        model = _shared(settings, settings.checkpoint)
    elif settings.foreign_checkpoint is not None or not settings.fits_classifier:
        networks = settings.model.record(), None
        key = _classifier_key(settings, "", False)
        model = _cached_or_fitted(settings, key, networks, lambda path: _save_unfitted(settings, path, key), again)
    else:
        return _fitted(settings, images, images.fingerprint, loggers, again=again)
    images.take_classes(model.classifier.task)
    check_fits(model, images.task, images.shape)
    return model


def permuted(settings: TrainSettings, images: Images, loggers: Sequence[Logger] = ()) -> FittedModel:
    """A classifier of the same model and training, fitted to permuted labels: its maps have nothing to show."""
    named = named_loggers(PERMUTED, loggers)
    return _fitted(settings, PermutedLabels(images, settings.seed), images.fingerprint, named, permuted=True)


def with_autoencoder(
    settings: TrainSettings,
    images: Images,
    classifier: FittedModel,
    again: bool = False,
    loggers: Sequence[Logger] = (),
) -> FittedModel:
    """The classifier with its causal autoencoder inserted, fitted if need be; arguments as those of `classifier`.

    Raises:
        ValueError: no autoencoder is configured.
    """
    own = classifier.model, settings.code_of.record()
    key = _autoencoder_key(settings, images.fingerprint, classifier.weights)
    named = named_loggers(AUTOENCODER, loggers)
    return _cached_or_fitted(
        settings,
        key,
        own,
        lambda path: fit_autoencoder(settings, images, classifier.classifier, classifier.path, path, named),
        again,
    )


def file(settings: TrainSettings, name: str, data: str, classifier: str, digest: Digest = sha256) -> Path:
    """Path of the weights of a network, there or to be written.

    Args:
        settings: of the job.
        name: classifier, permuted_classifier or autoencoder.
        data: the fingerprint of the images.
        classifier: a hash of the classifier's file, which determines where the autoencoder is that was fitted to it.
        digest: of a file that the configuration names.
    """
    if name == AUTOENCODER:
        return _path(settings, _autoencoder_key(settings, data, classifier, digest))
    if name == CLASSIFIER and settings.checkpoint is not None and settings.foreign_checkpoint is None:
        return settings.checkpoint
    return _path(settings, _classifier_key(settings, data, name == PERMUTED, digest))


def checkpoint_paths(settings: TrainSettings, data: str, names: Collection[str]) -> dict[str, Path]:
    """The checkpoints of networks, there or not, by their names.

    As long as the classifier is not fitted, that of its autoencoder, whose name depends on the classifier's weights,
    stands under a name that is no file's.

    Args:
        settings: of the job.
        data: the fingerprint of the images.
        names: classifier, permuted_classifier, autoencoder.
    """
    classifier = file(settings, CLASSIFIER, data, "")
    found = {CLASSIFIER: classifier}
    if PERMUTED in names:
        found[PERMUTED] = file(settings, PERMUTED, data, "")
    if AUTOENCODER in names and classifier.exists():
        found[AUTOENCODER] = file(settings, AUTOENCODER, data, hashing.file_hash(classifier))
    elif AUTOENCODER in names:
        own = {"autoencoder": settings.autoencoder, "training": settings.training.autoencoder}
        found[AUTOENCODER] = classifier.parent / hashing.content_hash(plain(own))
    return found


def facts(images: Images, models: Mapping[str, FittedModel]) -> dict[str, Any]:
    """Record of a run's data, of the model that it measured, and of the networks that it used, by `file`'s names."""
    foreign = dict(models[CLASSIFIER].foreign)
    return {
        "dataset_fingerprint": images.fingerprint,
        MODEL: dict(models[CLASSIFIER].model),
        "dataset": dict(images.facts),
        "bad_files": list(images.bad_files),
        "checkpoints": {name: model.weights for name, model in models.items()},
        "checkpoint_files": {name: str(model.path) for name, model in models.items()},
        "scores": {name: dict(model.scores) for name, model in models.items()},
        **({FOREIGN_WEIGHTS: foreign} if foreign else {}),
    }


def _save_unfitted(settings: TrainSettings, path: Path, key: Key) -> None:
    if settings.foreign_checkpoint is None:
        save_as_given(settings, path)
    else:
        save_foreign(settings, path, key.around[FOREIGN_WEIGHTS])


def _fitted(
    settings: TrainSettings,
    images: Images,
    data: str,
    loggers: Sequence[Logger],
    permuted: bool = False,
    again: bool = False,
) -> FittedModel:
    key = _classifier_key(settings, data, permuted)
    start = None if permuted else settings.ckpt_path
    return _cached_or_fitted(
        settings,
        key,
        (settings.model.record(), None),
        lambda path: fit_classifier(settings, images, path, loggers, start),
        again,
    )


def _classifier_key(settings: TrainSettings, data: str, permuted: bool, digest: Digest = sha256) -> Key:
    if settings.foreign_checkpoint is not None and not permuted:
        named = {"checkpoint": settings.checkpoint, "checkpoint_mapping": settings.checkpoint_mapping}
        origin = {name: digest(path) for name, path in named.items() if path is not None}
        code = hashing.fitting_code_hash()
        return _key(CLASSIFIER, {"model": settings.model}, digest, code=code, fit=False, **{FOREIGN_WEIGHTS: origin})
    if not settings.fits_classifier:
        code = hashing.fitting_code_hash()
        return _key(CLASSIFIER, {"model": settings.model}, digest, code=code, labels="none", fit=False)
    parts: Parts = {
        "model": settings.model,
        "training": settings.training.classifier,
        "augmentation": settings.augmentation,
        "callbacks": of_fit(settings.callbacks, monitors=True),
        "trainer": settings.trainer,
        "ckpt_path": None if permuted else settings.ckpt_path,
    }
    labels, attacked = "permuted" if permuted else "as they are", settings.training.classifier.attack is not None
    code = hashing.fitting_code_hash(attacks=attacked)
    return _key(CLASSIFIER, parts, digest, code=code, data=data, labels=labels, seed=settings.seed)


def _autoencoder_key(settings: TrainSettings, data: str, classifier: str, digest: Digest = sha256) -> Key:
    parts: Parts = {
        "autoencoder": settings.code_of,
        "training": settings.training.autoencoder,
        "callbacks": of_fit(settings.callbacks, monitors=False),
        "trainer": settings.trainer,
    }
    code = hashing.fitting_code_hash()
    return _key(AUTOENCODER, parts, digest, code=code, data=data, classifier=classifier, seed=settings.seed)


def _key(kind: str, parts: Parts, digest: Digest, **known: Any) -> Key:
    configured = hashing.relevant_to_fits(plain(parts))
    around = {
        **software(),
        **known,
        "components": hashing.foreign_code(configured),
        "files": files_named(configured, digest),
    }
    name = f"{kind}-{hashing.content_hash({**configured, **around})}"
    return Key(kind, name, parts, around)


def _path(settings: TrainSettings, key: Key) -> Path:
    return settings.output_root / "checkpoints" / key.name / f"{key.kind}.ckpt"


def _cached_or_fitted(
    settings: TrainSettings, key: Key, networks: NetworkSettings, fit: Callable[[Path], None], again: bool
) -> FittedModel:
    path, fits = _path(settings, key), key.around.get("fit", True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.parent / "lock"):
        remove_partial(path.parent)
        if not again and (_is_shared(settings, path) or _is_found(path, networks)):
            log.info("found the %s%s: %s", "fitted " if fits else "", path.stem, path)
        else:
            how, unlike = ("fitting", _unlike(path.parent, key)) if fits else ("taking the given weights for", "")
            log.info("%s the %s: %s%s", how, path.stem, path, unlike)
            if fits and (limited := limits(settings.trainer)):
                log.warning("for trying out, and no result, since it is limited by %s", limits_in_words(limited))
            write_json(path.parent / _KEY_FILE, key.content)
            with isolate_rng():
                pl.seed_everything(settings.seed, verbose=False)
                fit(path)
        (path.parent / EPOCH_FILE).unlink(missing_ok=True)
    return _shared(settings, path)


def _unlike(folder: Path, key: Key) -> str:
    """In what the nearest of the models that are fitted already differs from one that is not; to be added to a line.

    Empty where all of them differ in so many settings that none was meant.
    """
    own, nearest = config_diff.flattened(key.content), None
    for path in folder.parent.glob(f"{key.kind}-*/{_KEY_FILE}"):
        with suppress(OSError, ValueError):
            content = read_json(path)
            if not content.get("fit", True):  # weights that were given, which nothing here has fitted
                continue
            other = config_diff.flattened(content)
            unlike = sorted(name for name in {*own, *other} if own.get(name) != other.get(name))
            nearest = unlike if unlike and (nearest is None or len(unlike) < len(nearest)) else nearest
    if nearest is None or len(nearest) > _MOST_NAMED:
        return ""
    return f" (the nearest fitted one differs in {', '.join(nearest)})"


def _is_found(path: Path, settings: NetworkSettings) -> bool:
    """Return whether a fitted checkpoint is there, of the bytes that were written, and names what this job would fit.

    It lies in a folder that others may write to: what it names is not trusted for lying there.
    """
    if not path.exists():
        return False
    try:
        content = checkpoint.read_checkpoint(path)
    except ValueError as error:
        log.warning("%s It is made again.", error)
        return False
    same = all(
        _without_start(found) == _without_start(own)
        for found, own in zip((content["model"], content["autoencoder"]), settings, strict=True)
    )
    fit = content["facts"].get("fit")
    if not same:
        log.warning("%s names another model than this job has, and is made again", path)
    elif fit != path.parent.name:
        log.warning("%s is of another fit, %s, and is made again", path, fit)
    return same and fit == path.parent.name


def _without_start(settings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if settings is None else checkpoint.without_start(settings)


class _Shared(NamedTuple):
    """A classifier that an earlier job of this process was given, and what it was like."""

    model: FittedModel
    state: tuple[Any, ...]
    file: str  # the settled state of its file, when that was last read

    def stands_for(self, path: Path, file: str) -> bool:
        """Whether neither the file, of that settled state, nor the classifier has changed since it was read."""
        same = file == self.file if file and self.file else hashing.file_hash(path) == self.model.weights
        return same and _state(self.model) == self.state


def _state(model: FittedModel) -> tuple[Any, ...]:
    """A classifier as it is now: its tensors, modules, hooks, modes, classes and thresholds."""
    own = model.classifier
    modes = tuple(module.training for module in own.modules())
    return weights_stamp(own), own.task, modes, tuple(each.requires_grad for each in own.parameters())


_SHARED: OrderedDict[tuple[str, ...], _Shared] = OrderedDict()  # by all that they are made of


def _shared_key(settings: TrainSettings, path: Path) -> tuple[str, ...]:
    made_of = [None if node is None else plain(node) for node in (settings.model, settings.autoencoder)]
    return str(path.absolute()), repr((made_of, settings.trust_checkpoint, settings.checkpoint == path))


def _settled(path: Path) -> str:
    """The state of a file; empty if it is so young that it may change again and bear the same time."""
    now = stat_files([path])
    return now.state if now.changed < time.time() - SETTLED else ""


def _is_shared(settings: TrainSettings, path: Path) -> bool:
    """Whether an earlier job of this process has found the fitted classifier of the file, which is as it was."""
    before = _SHARED.get(_shared_key(settings, path))
    return before is not None and path.exists() and before.stands_for(path, _settled(path))


def _shared(settings: TrainSettings, path: Path) -> FittedModel:
    """`read_model`, or what an earlier job was given for the same file, if nothing has changed it since.

    What was traced for its engines is found again, too; a job chooses them itself, so that the last bits of its tables
    do not depend on the jobs before it.
    """
    key = _shared_key(settings, path)
    before, file = _SHARED.pop(key, None), _settled(path)
    if before is None or not before.stands_for(path, file):
        while len(_SHARED) >= _SHARED_MODELS:
            _SHARED.popitem(last=False)
        model = read_model(settings, path)
        before = _Shared(model, _state(model), file)
    elif settings.checkpoint == path:
        _warn_of_limits(path, checkpoint.read_checkpoint(path))
    forget_choices(before.model.classifier)
    _SHARED[key] = before._replace(file=file)
    return before.model


def read_model(settings: TrainSettings, path: Path) -> FittedModel:
    """The classifier of a file, with what it was fitted as."""
    content = checkpoint.read_checkpoint(path)
    if settings.checkpoint == path:
        _warn_of_limits(path, content)

    def made(network: Mapping[str, Any]) -> Any:
        for node in (settings.model, settings.autoencoder):
            if node is not None and network == checkpoint.without_start(node.record()):
                return Component(node.where, checkpoint.without_start(dict(node))).make()
        return (_catalogue.make_any if settings.trust_checkpoint else _catalogue.build)(network)

    with isolate_rng():  # so that a job draws the same numbers whether it makes a network or shares one
        classifier = laid_out(checkpoint.rebuilt(path, content, made))
    own = content["facts"]
    hashed = hashing.file_hash(path)
    return FittedModel(classifier, path, hashed, own.get("scores", {}), content["model"], own.get(FOREIGN_WEIGHTS, {}))


def _warn_of_limits(path: Path, content: Mapping[str, Any]) -> None:
    if limited := content["facts"].get("limits"):
        log.warning("%s was fitted for trying out, limited by %s", path, limits_in_words(limited))


def check_fits(model: FittedModel, task: Task, shape: Shape) -> None:
    """Refuse a classifier that was fitted to other data than those of this task and image shape.

    Raises:
        ValueError: its classes or its image shape are others.
    """
    own, fitted = model.classifier.task, tuple(model.model["shape"])
    if (own.kind, own.classes) != (task.kind, task.classes):
        raise ValueError(
            f"the checkpoint {model.path} must have the dataset's {len(task.classes)} classes "
            f"({task.kind}: {checks.listed(task.classes)}), got {len(own.classes)} "
            f"({own.kind}: {checks.listed(own.classes)}). Choose its dataset, or another checkpoint."
        )
    if fitted != tuple(shape):
        raise ValueError(
            f"the checkpoint {model.path} must be fitted to the dataset's image shape {list(shape)}, "
            f"got {list(fitted)}. Set dataset.shape, or choose another checkpoint."
        )
