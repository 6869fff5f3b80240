"""Dependencies of a job's numbers, by content: the keys of its networks, its settings, code and files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dovision.config.component import Component, make_each
from dovision.config.settings import EvaluateSettings, TrainSettings, to_dict
from dovision.identity import code
from dovision.identity.digests import SETTLED, Digests, files_below, stat_files
from dovision.identity.relevance import content_hash, paths_named, relevant_to_fits, settings_hash, without_irrelevant
from dovision.interfaces import Images

CLASSIFIER, AUTOENCODER = "classifier", "autoencoder"  # the networks of a run
CHECKPOINTS = "checkpoints"  # the folder of fitted networks in an output root, and what run.json calls their weights
DATA = "dataset_fingerprint"  # what run.json calls the data
FOREIGN_WEIGHTS = "foreign_weights"  # of the facts of a checkpoint, and of a run
# Settings whose files are identified by the data's fingerprint and by the hashes of the weights.
_OF_DATA_AND_WEIGHTS = (
    *("dataset", "checkpoint", "model", "autoencoder", "training", "augmentation", "callbacks"),
    *("trainer", "name"),  # which is no file, even where a run lies in a folder of that name
)
Digest = Callable[[Path], str]


@dataclass(frozen=True)
class NetworkKey:
    """Key of a job's network: the path of its checkpoint, and everything that determines its fit.

    That is all but the device and the number of threads, so that the weights of two fits of one key may differ in
    their last bits. They are identified by their bytes as soon as these are there.
    """

    name: str  # classifier or autoencoder
    path: Path
    weights: str | None  # twelve digits of the checkpoint's bytes; None: it is not there
    settings: str = ""  # a hash of the settings that shape the fit; empty of a checkpoint that is given
    record: Mapping[str, Any] | None = None  # these settings as they may be written out
    surroundings: Mapping[str, Any] | None = None  # all else: measurement, torch, data, seed, components, files

    @property
    def is_given(self) -> bool:
        """Return whether the job names the checkpoint, which is read in place."""
        return self.surroundings is None

    @property
    def fits(self) -> bool:
        """False if weights are given, by a checkpoint or by the model."""
        return self.surroundings is not None and bool(self.surroundings.get("fit", True))

    @property
    def content(self) -> dict[str, Any]:
        """Everything that determines the fit, as it is recorded."""
        return {**(self.record or {}), **(self.surroundings or {})}

    def behind(self, classifier: str, digest: Digest) -> NetworkKey:
        """Key of this autoencoder on a classifier with these weights."""
        surroundings = {**(self.surroundings or {}), "classifier": classifier}
        path = _checkpoint(self.path.parents[1], self.path.stem, self.settings, surroundings)
        return replace(self, path=path, surroundings=surroundings, weights=_weights(path, digest))


def surroundings(settings: EvaluateSettings, images: Images, digest: Digest) -> dict[str, Any]:
    """Dependencies of a run besides data and weights: measurement, configuration, outside code, named files.

    Paths of files count by the files' content alone.
    """
    relevant = without_irrelevant(to_dict(settings))
    others = {name: value for name, value in relevant.items() if name not in _OF_DATA_AND_WEIGHTS}
    components = {**code.third_party_code(relevant), **code.reading_libraries(images.suffixes)}
    return {
        **code.software(),
        "settings": settings_hash(relevant),
        "components": components,
        "files": files_named(others, digest),
    }


def files_named(config: Mapping[str, Any], digest: Digest) -> dict[str, str]:
    """Digests of the files that a plain configuration names, by setting.

    The folder that is a component's `root`, or of which a model is read, stands for all below it.
    """
    contents = {}
    for name, path in paths_named(config).items():
        if path.is_file():
            contents[name] = digest(path)
        elif name.endswith((".root", "model.source")):
            files = {file.relative_to(path).as_posix(): digest(file) for file in files_below(path)}
            contents[name] = content_hash(files)
    return contents


def without_monitors(callbacks: Mapping[str, Component]) -> dict[str, Component]:
    """Configured callbacks but for those that monitor a metric, which belong to the classifier's fit alone."""
    return {name: callback for name, callback in callbacks.items() if "monitor" not in callback}


def network_keys(settings: TrainSettings, data: str, digest: Digest) -> dict[str, NetworkKey]:
    """Keys of a job's networks by name, in the order of their fits."""
    keys = {CLASSIFIER: _classifier_key(settings, data, digest)}
    if reads_code(settings):
        classifier = keys[CLASSIFIER].weights or keys[CLASSIFIER].path.parent.name  # a name that is no hash of weights
        keys[AUTOENCODER] = _autoencoder_key(settings, data, digest, classifier)
    return keys


def reads_code(settings: TrainSettings) -> bool:
    """Return whether a job needs an autoencoder: a fit always, a measurement if its code is edited or read."""
    if not isinstance(settings, EvaluateSettings):
        return settings.autoencoder is not None
    return getattr(settings.intervention.make(), "on_code", False) or any(
        getattr(detector, "reads_code", False) for detector in make_each(settings.detector).values()
    )


def _classifier_key(settings: TrainSettings, data: str, digest: Digest) -> NetworkKey:
    model = {"model": settings.model}
    if settings.foreign_checkpoint is not None:
        weights = {FOREIGN_WEIGHTS: {"checkpoint": digest(settings.foreign_checkpoint)}}
        return _key(settings, CLASSIFIER, model, digest, {"fit": False, **weights})
    if settings.checkpoint is not None:
        return NetworkKey(CLASSIFIER, settings.checkpoint, _weights(settings.checkpoint, digest))
    if not settings.fits_classifier:
        return _key(settings, CLASSIFIER, model, digest, {"fit": False})
    shapes = {
        **model,
        "training": settings.training.classifier,
        "augmentation": settings.augmentation,
        "callbacks": settings.callbacks,
        "trainer": settings.trainer,
    }
    return _key(settings, CLASSIFIER, shapes, digest, {"data": data, "seed": settings.seed})


def _autoencoder_key(settings: TrainSettings, data: str, digest: Digest, classifier: str) -> NetworkKey:
    shapes = {
        "autoencoder": settings.code_of,
        "training": settings.training.autoencoder,
        "callbacks": without_monitors(settings.callbacks),
        "trainer": settings.trainer,
    }
    return _key(settings, AUTOENCODER, shapes, digest, {"data": data, "classifier": classifier, "seed": settings.seed})


def _key(
    settings: TrainSettings, name: str, shapes: Mapping[str, Any], digest: Digest, more: Mapping[str, Any]
) -> NetworkKey:
    """Make the key of a network."""
    configured = relevant_to_fits(to_dict(shapes))
    around = {
        **code.software(),
        **more,
        "components": code.third_party_code(configured),
        "files": files_named(configured, digest),
    }
    hashed = settings_hash({**configured, "training": {name: configured.get("training")}})
    path = _checkpoint(settings.output_root / CHECKPOINTS, name, hashed, around)
    record = relevant_to_fits(to_dict(shapes, record=True))
    return NetworkKey(name, path, _weights(path, digest), hashed, record, around)


def _checkpoint(folder: Path, stem: str, settings: str, around: Mapping[str, Any]) -> Path:
    return folder / f"{stem}-{content_hash({'settings': settings, **around})}" / f"{stem}.ckpt"


def _weights(path: Path, digest: Digest) -> str | None:
    return digest(path)[:12] if path.exists() else None


class Shared:
    """Objects shared by a command's jobs in one process; each worker has its own."""

    def __init__(self) -> None:
        self._digests: dict[Path, Digests] = {}
        self._opened: tuple[str, str, Images] | None = None  # key, state of the files when it was opened, and dataset

    def digests(self, output_root: Path) -> Digests:
        """Digest cache of an output root."""
        root = output_root.absolute()
        if root not in self._digests:
            self._digests[root] = Digests(root)
        return self._digests[root]

    def images(self, dataset: Component) -> Images:
        """The configured dataset, reopened if its files have changed.

        Images without labels take their classes from the job's classifier, and are opened for each job.
        """
        content, began = to_dict(dataset), time.time()
        real = {name: os.path.realpath(path) for name, path in paths_named(content).items()}  # links may have moved
        key = content_hash({"settings": content, "real": real, "folder": os.getcwd()})
        before, self._opened = self._opened, None
        if before is not None and before[:2] == (key, stat_files(before[2].files or ()).digest):
            self._opened = before
            return before[2]
        images: Images = dataset.make()
        if images.files is not None and images.labelled:
            state = stat_files(images.files)
            if state.changed < began - SETTLED:
                self._opened = key, state.digest, images
        return images
