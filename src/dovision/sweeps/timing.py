"""Minutes of jobs from one timed batch of each task; nothing is written, and no generator is moved."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch import Tensor

from dovision.attacks.none import NoAttack
from dovision.config.component import Component
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.evaluation import callbacks
from dovision.evaluation.adaptive_attack import Adaptive, Budget, Opponent
from dovision.evaluation.callback import ClassifierUnderTest, Evaluation
from dovision.identity.plans import AUTOENCODER, CLASSIFIER
from dovision.interfaces import Attack, Classifier, Detector, Images, Intervention
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert
from dovision.runtime.process_state import isolated
from dovision.runtime.progress import DISPLAY
from dovision.training.data_module import ImageDataModule, check_detection
from dovision.training.fitting import autoencoder_module, classifier_module, laid_out
from dovision.training.model_cache import Architecture, read_model
from dovision.training.sanity_checks import DEPTHS
from dovision.training.trainer import make_trainer
from dovision.types import Batch

log = logging.getLogger(__name__)
PER_RUN = 1.0  # seconds of a run beside its tasks: its folder, networks, engines, record and summary, about
SHARE = 1 / 40  # of the images of a task that are timed, beside one that sets up
BUDGET = 1 / 10  # of the time of a task, or of jobs: beyond it effects are not timed, but follow from their passes
SECONDS = 0.5  # for which a task is timed after what it sets up, if its share is less
VALIDATION = 1 / 3  # of the seconds of an image in a fit, since it needs no gradients


class TimedTask(NamedTuple):
    """Kind of work in a job."""

    name: str
    key: str  # what the seconds of an image depend on; tasks of equal keys are timed once
    images: float
    time: Callable[[float], float]  # seconds of an image, from the number of images
    passes: int | None = None  # forward passes for an image, where they follow from the configuration
    workers: int = 1  # processes, each of one thread, that share the images
    unknown: str = ""  # why it may take more; empty if it does not


class Estimate(NamedTuple):
    """Minutes of a job; a lower bound where tasks may take longer."""

    minutes: float
    unknown: tuple[str, ...] = ()  # these tasks, and why


class BatchTimer:
    """Estimator of jobs; a task shared by several jobs is timed once.

    Args:
        threads: of torch, in a job that sets none; None: as many as torch takes.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._image_seconds: dict[tuple[str, int | None], float | None] = {}  # by the key of a task, and threads
        self._pass_seconds: dict[str, float] = {}  # by the key of a network
        self._estimated = self._spent = 0.0  # seconds of all jobs so far, and of their timing

    def __call__(self, job: JobTasks) -> Estimate:
        """Estimate the minutes of a job."""
        before, unknown = self._estimated, []
        for task in job:
            seconds = self._seconds(task, job)
            self._estimated += (seconds or 0.0) * task.images / task.workers
            if seconds is None or task.unknown:
                unknown.append(f"{task.name} ({task.unknown or 'it could not be timed'})")
        if self._estimated > before:
            self._estimated += PER_RUN
        return Estimate((self._estimated - before) / 60, tuple(dict.fromkeys(unknown)))

    def _seconds(self, task: TimedTask, job: JobTasks) -> float | None:
        """Seconds per image; None if it cannot be timed."""
        network, threads = job.key(), 1 if task.workers > 1 else job.settings.threads or self.threads
        if (key := (task.key, threads)) in self._image_seconds:
            return self._image_seconds[key]
        if task.passes and self._spent > BUDGET * self._estimated and network in self._pass_seconds:
            return task.passes * self._pass_seconds[network]
        log.info("timing a batch: %s", task.name)
        began, seconds = _now(), None
        try:
            with isolated(job.settings.seed, threads), DISPLAY.silenced():
                seconds = task.time(task.images)
        except Exception as error:  # whatever a job would raise once it came to it
            log.warning("%s could not be timed: %s", task.name, error_text(error))
        self._spent += _now() - began
        if seconds is not None and task.passes:
            self._pass_seconds[network] = seconds / task.passes
        self._image_seconds[key] = seconds
        return seconds


@dataclass(frozen=True)
class JobTasks:
    """Tasks of a job before it runs."""

    settings: EvaluateSettings
    images: Images
    intervention: Intervention
    attack: Attack
    samples: Sequence[int]  # of the test images
    units: int | None  # of the intervention, if they follow from the configuration
    files: Mapping[str, Path]  # of its networks
    missing: Collection[str]  # names of those networks that it will fit

    def __iter__(self) -> Iterator[TimedTask]:
        yield from map(self._fit, self.missing)
        evaluation = {**self.content["evaluation"], "images": None, "shards": None, "shard": None}
        key, passes = self.key("effects", self.content["intervention"], evaluation), self.units and 1 + self.units
        images, timed = len(self.samples) * (1 + len(self.attack.eps)), partial(self._time_evaluation, self._effects)
        yield TimedTask("effects", key, images, timed, passes)
        if self.attack.eps:
            yield self._attack(self.attack, self.content["attack"], len(self.samples))
        if self.content["explainer"]:
            explanation = self.content["explanation"]
            again = min(explanation["num_sanity_images"], len(self.samples))  # explained for other networks as well
            again *= (DEPTHS + self.settings.evaluation.permuted_labels) / (1 + bool(explanation["noise"]))
            key = self.key("maps", self.content["explainer"], {**explanation, "num_sanity_images": 0})
            yield TimedTask("maps", key, len(self.samples) + again, partial(self._time_evaluation, self._maps))
        if self.content["detector"]:
            yield from self._detection()

    def key(self, *settings: Any) -> str:
        """Cache key of a task: these settings with those of network and data, without seeds."""
        names = ("dataset", "model", "autoencoder", "checkpoint", "trainer", "threads")
        return re.sub(r'"seed": \d+', "", json.dumps([*settings, *map(self.content.get, names)], default=str))

    @cached_property
    def content(self) -> dict[str, Any]:
        """Configuration in plain types."""
        return self.settings.to_dict()

    def _trainer(self, callbacks: Sequence[Callback] = (), **limits: Any) -> pl.Trainer:
        plumbing = {"devices": 1, "strategy": "auto", "enable_checkpointing": False, **limits}
        return make_trainer(self.settings.trainer, callbacks, **plumbing)

    @cached_property
    def classifier(self) -> Classifier:
        """Classifier with the weights of its file or, if not fitted, with random ones."""
        path = self.files[CLASSIFIER]
        classifier = self._network_of(path) if path.exists() else self._unfitted()
        return classifier.to(self._trainer().strategy.root_device).eval()

    @cached_property
    def with_autoencoder(self) -> Classifier:
        """The classifier with its autoencoder, if the job needs one."""
        path = self.files.get(AUTOENCODER)
        if path is None:
            return self.classifier
        if path.exists():
            return self._network_of(path).to(self.classifier.mean.device).eval()
        inserted = insert(self.classifier, self.settings.code_of.make(), self.images.shape)
        return laid_out(inserted.to(self.classifier.mean.device)).eval()

    def _network_of(self, path: Path) -> Classifier:
        settings = self.settings
        architecture = Architecture(settings.model, settings.autoencoder, settings.trust_checkpoint)
        return read_model(path, architecture).classifier

    def _unfitted(self) -> Classifier:
        return laid_out(Component("model", checkpoint.without_weights(self.content["model"])).make())

    def _fit(self, name: str) -> TimedTask:
        group = AUTOENCODER if name == AUTOENCODER else CLASSIFIER
        fit = self.content["training"][group]
        train, val = (len(self.images.order(split)) for split in ("train", "val"))
        images = fit["epochs"] * train + max(1, fit["epochs"]) * val * VALIDATION
        key = self.key(group, {**fit, "epochs": None}, self.content["augmentation"])
        return TimedTask(f"fit of the {name.replace('_', ' ')}", key, images, partial(self._time_fit, group))

    def _time_fit(self, group: str, images: float) -> float:
        """Seconds per image of a fit's steps, without the first one, which sets up."""
        training = self.settings.training
        if group == CLASSIFIER:
            module: pl.LightningModule = classifier_module(training.classifier, self._unfitted().train())
        else:
            networks = map(copy.deepcopy, (self.classifier, self.with_autoencoder))
            module = autoencoder_module(training.autoencoder, *networks)
        transform = None if group == AUTOENCODER else self.settings.augmentation.make()
        size = getattr(training, group).batch_size
        data = ImageDataModule(self.images, train_batch_size=size, augmentation=transform)
        steps, marks = int(SHARE * images / size), list[float]()

        def mark(trainer: pl.Trainer, *_: Any) -> None:
            marks.append(_now())
            trainer.should_stop = len(marks) > 1 and marks[-1] - marks[bool(steps)] > SECONDS

        limits = {"max_epochs": 1, "limit_train_batches": 1 + max(1, steps), "limit_val_batches": 0}
        callback = LambdaCallback(on_train_start=mark, on_train_batch_end=mark)
        self._trainer([callback], **limits).fit(module, data.train_dataloader())
        first, *others = (after - before for before, after in itertools.pairwise(marks))
        return (statistics.mean(others) if others else first) / size

    def _effects(self, folder: Path) -> Evaluation:
        networks = {CLASSIFIER: self.classifier, AUTOENCODER: self.with_autoencoder}
        inputs = callbacks.EvaluationInputs(folder, self.images, [], networks)
        evaluation = callbacks.effect_evaluation(self.settings, inputs, self.intervention, NoAttack())
        evaluation.refuses_approximation = False  # as that of random weights would be
        return evaluation

    def _maps(self, folder: Path) -> Evaluation:
        inputs = callbacks.EvaluationInputs(folder, self.images, [], {CLASSIFIER: self.classifier})
        (evaluation,) = callbacks.map_evaluation(self.settings, inputs)
        return evaluation

    def _attack(self, attack: Attack, settings: Mapping[str, Any], images: float) -> TimedTask:
        """Attack at all epsilons; one takes as long as another, unless it stops at success."""
        stops = attack.most_queries(len(self.images.task.classes)) is not None
        key = self.key("attack", {**settings, "eps": attack.eps if stops else len(attack.eps)})
        unknown = "how soon it stops at an image shows once the classifier is fitted"

        def step(batch: Batch) -> None:
            for eps in attack.eps:
                attack(batch, self.classifier, eps)

        task = TimedTask("attack", key, images, partial(self._time_step, step))
        return task._replace(unknown=unknown) if stops and not self.files[CLASSIFIER].exists() else task

    def _detection(self) -> Iterator[TimedTask]:
        """Tasks of detection: attacks, reads by detectors, and adaptive attacks; fits take little time."""
        check_detection(self.images)
        setup, config = callbacks.detection_setup(self.settings), self.settings.detection
        assert setup is not None
        counts, workers = {"val": config.val_images, "test": config.test_images}, config.workers
        images = sum(len(self.images.order(split)[:most]) for split, most in counts.items())
        for name, attack in setup.attacks.items():
            task = self._attack(attack, self.content["detection"]["attacks"][name], images)
            yield task._replace(name=f"attack {name}", workers=workers)
        conditions = 1 + sum(len(attack.eps) for attack in setup.attacks.values())
        key, read = self.key("reading", self.content["detector"]), partial(self._read, setup.detectors.values())
        yield TimedTask(
            "reading of detectors", key, conditions * images, partial(self._time_step, read), workers=workers
        )
        adaptive, attacked = config.adaptive, self.settings.adaptively_attacked
        epsilons = sum(len(eps) for eps in adaptive.budgets.values())
        steps = epsilons * adaptive.restarts * adaptive.targets * (1 + adaptive.steps) / 2  # a single step looks twice
        steps *= len(self.images.order("test")[: adaptive.images]) * (1 + adaptive.rounds)
        for name in attacked:
            key = self.key("adaptive", adaptive.draws, self.content["detector"][name])
            time_attack, shared = partial(self._time_adaptive, setup.detectors[name]), min(workers, len(attacked))
            yield TimedTask(f"adaptive attack on {name}", key, steps, time_attack, workers=shared)

    def _read(self, detectors: Collection[Detector], batch: Batch) -> Tensor:
        """Read a batch by each detector; return what the last one has read."""
        networks = self.classifier, self.with_autoencoder
        for detector in detectors:
            if not detector.prepared:
                detector.prepare([self._batch(self.samples[: self.settings.evaluation.batch_size])], *networks)
            read = detector.read(batch, *networks)
        return read.detach()

    def _time_adaptive(self, detector: Detector, images: float) -> float:
        """Time one step against a detector fitted to the first images."""
        config, fitted = self.settings.detection.adaptive, copy.copy(detector)
        read = self._read([detector], self._batch(self.samples[: self.settings.evaluation.batch_size]))
        fitted.fit(read, read[: len(read) * detector.supervised])
        opponent = Opponent(fitted, 0.0, self.with_autoencoder)
        attack = Adaptive(config.eps, opponent, Budget(1, draws=config.draws), seed=self.settings.seed)
        return self._time_step(lambda batch: attack(batch, self.classifier, attack.eps[0]), images)

    def _time_evaluation(self, make: Callable[[Path], Evaluation], images: float) -> float:
        module = ClassifierUnderTest(self.classifier).to(self.classifier.mean.device).eval()
        data = callbacks.evaluation_data(self.settings, self.images, self.samples)
        with tempfile.TemporaryDirectory() as folder, closing(make(Path(folder))) as evaluation:
            evaluation.begin(trainer := self._trainer(), data.test_dataloader())
            hook = evaluation.on_test_batch_end
            return self._time_step(lambda batch: hook(trainer, module, None, batch, 0), images)

    @torch.no_grad()
    def _time_step(self, step: Callable[[Batch], object], images: float) -> float:
        """Seconds per image in a batch sized by SHARE and SECONDS, after one warm-up image."""
        began = _now()
        step(self._batch(self.samples[:1]))
        single = (middle := _now()) - began
        size = max(SHARE * images, SECONDS / max(single, 1e-9), BUDGET * images >= 2)
        if not (samples := self.samples[1:][: min(int(size), self.settings.evaluation.batch_size)]):
            return single
        step(self._batch(samples))
        return (_now() - middle) / len(samples)

    def _batch(self, samples: Sequence[int]) -> Batch:
        batch = self.images.split(self.settings.evaluation.split).batch(list(samples))
        return Batch(*(field.to(self.classifier.mean.device) for field in batch))


def _now() -> float:
    """Seconds, after synchronising the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
