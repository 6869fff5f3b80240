"""The pace of each kind of work that jobs hold, measured on batches; nothing is written, and no generator is moved."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader

from dovision.attacks.none import NoAttack
from dovision.config import hashing
from dovision.config.component import Component
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings, plain
from dovision.evaluation import callbacks
from dovision.evaluation.adaptive_attack import DIRECTIONS, Adaptive, Opponent
from dovision.evaluation.callback import ClassifierUnderTest, Evaluation
from dovision.evaluation.fit_protocol import fit_protocol
from dovision.evaluation.test_images import first_samples
from dovision.interfaces import Attack, Classifier, Detector, Images, Intervention
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert
from dovision.runtime.process_state import freeing_memory, isolated
from dovision.runtime.processor_clock import undisturbed_seconds
from dovision.runtime.progress import DISPLAY
from dovision.store.detection_tables import NOISE, TEST, VAL
from dovision.sweeps.costs import Batches, Estimate, Pace, Work, estimate, fits_of_detectors
from dovision.sweeps.recorded_pace import unseeded
from dovision.sweeps.table_pace import table_pace
from dovision.training import model_cache
from dovision.training.data_module import VALIDATION_BATCH, ImageDataModule, check_detection
from dovision.training.fitting import autoencoder_module, classifier_module, laid_out
from dovision.training.model_cache import AUTOENCODER, CLASSIFIER
from dovision.training.trainer import make_trainer
from dovision.types import Batch

log = logging.getLogger(__name__)
ROWS = 256  # to which a detector is fitted for its pace
_NO_PACE = ("images", "shards", "shard")  # of evaluation, on which the time of an image does not depend
FITTED_SHARE = 2 / 3  # of the validation images, to which detectors are fitted
LOOSE = "how soon it stops at an image is known once the classifier is fitted"


class Timer:
    """Estimates jobs; work that is alike for several of them is timed once.

    Args:
        threads: of torch, in a job that sets none; None: as many as torch takes.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._paces: dict[tuple[str, int | None], Pace | None] = {}

    def __call__(self, asked: Asked, recorded: Pace | None = None) -> Estimate:
        """The minutes of a job that is yet to run; but for fits, by the pace of a completed run if that is recorded."""
        bench = Bench(asked)
        times = dict(bench.work() if recorded is None else bench.fits())
        found = estimate(times, lambda work: self._pace(work, asked.settings, times[work]))
        own = asked.settings.evaluation
        whole = found if recorded is None else found.plus(bench.scaled(recorded))
        return whole.with_runs(None if own.shard is None else own.shards)

    def _pace(self, work: Work, settings: EvaluateSettings, timed: Callable[[], Pace]) -> Pace | None:
        threads = 1 if work.workers > 1 else settings.threads or self._threads
        key = work.key, threads
        if key not in self._paces:
            log.info("timing a batch: %s", work.kind)
            try:
                alone = threadpool_limits(1) if work.workers > 1 else nullcontext()
                with freeing_memory(), isolated(settings.seed, threads), alone, DISPLAY.silenced():
                    _forget_gpu_peak()
                    self._paces[key] = timed()._replace(gpu=_gpu_peak())
            except Exception as error:  # whatever a job would raise once it came to it
                log.warning("%s could not be timed: %s", work.kind, error_text(error))
                self._paces[key] = None
        return self._paces[key]


@dataclass(frozen=True)
class Asked:
    """A job that is yet to run, what was made of its configuration, and what its extent is."""

    settings: EvaluateSettings
    images: Images
    intervention: Intervention
    attack: Attack
    samples: Sequence[int]  # of the test images
    files: Mapping[str, Path]  # of its networks
    lacking: Collection[str]  # names of those networks that it will fit
    blocks: int = 0  # of sums of effects, see `Work`
    merged_blocks: int | None = None


class Bench:
    """The work that a job holds, and the ways to time it.

    Args:
        asked: the job.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.settings = asked.settings
        self.images = asked.images
        self.content = plain(asked.settings)
        self.is_fitted = asked.files[CLASSIFIER].exists()

    def work(self) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        """Each part of the job, with what times it."""
        yield from self.fits()
        yield self._effects()
        yield from self._attack("attack", self.content["attack"], self.asked.attack, len(self.asked.samples))
        if self.content["explainer"]:
            yield from self._maps()
        if self.content["detector"]:
            yield from self._detection()

    def fits(self) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        """The fits of the networks that are lacking, with what times them."""
        for name in self.asked.lacking:
            yield from self._fit(name)

    def scaled(self, recorded: Pace) -> Estimate:
        """The minutes of all but fits, by the pace of a completed run."""
        images, merged = len(self.asked.samples), None if self.asked.merged_blocks is None else 0
        return estimate([Work("all but fits", "", images, merged_blocks=merged)], lambda work: recorded)

    @cached_property
    def classifier(self) -> Classifier:
        """With its own weights, or, if it is not fitted, as it comes, without those that a fit starts from."""
        path = self.asked.files[CLASSIFIER]
        return model_cache.read_model(self.settings, path).classifier if path.exists() else self._unfitted()

    @cached_property
    def with_autoencoder(self) -> Classifier:
        """The same with its autoencoder."""
        path = self.asked.files[AUTOENCODER]
        if path.exists():
            return model_cache.read_model(self.settings, path).classifier
        return laid_out(insert(self.classifier, self.settings.code_of.make(), self.images.shape))

    def _unfitted(self) -> Classifier:
        model = Component("model", checkpoint.without_weights(self.content["model"]))
        return laid_out(model.make()).eval()

    def _networks(self) -> dict[str, Classifier]:
        own = {CLASSIFIER: self.classifier}
        return {**own, AUTOENCODER: self.with_autoencoder} if AUTOENCODER in self.asked.files else own

    def _key(self, kind: str, *parts: Any) -> str:
        """A hash of what a pace depends on besides the network and the data, with both of these."""
        own = {name: self.content[name] for name in ("dataset", "model", "checkpoint", "trainer", "threads")}
        return hashing.content_hash({"kind": kind, "parts": unseeded(list(parts)), **unseeded(own)})

    # fits

    def _fit(self, name: str) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        kind = AUTOENCODER if name == AUTOENCODER else CLASSIFIER
        settings = self.content["training"][kind]
        parts = [{key: value for key, value in settings.items() if key != "epochs"}]
        parts += [self.content["autoencoder"]] if kind == AUTOENCODER else []
        title = f"fit of the {name.replace('_', ' ')}"
        train, val = (len(self.images.source(split).label) for split in ("train", "val"))
        fit = Work(title, self._key(f"fit {kind}", *parts), settings["epochs"] * train)
        if settings["epochs"]:
            yield fit, lambda: self._fit_pace(kind, settings["batch_size"])
        validate = Work(f"{title}, validation", self._key(f"val {kind}", *parts), max(1, settings["epochs"]) * val)
        yield validate, lambda: self._validation_pace(kind)

    def _module(self, kind: str) -> pl.LightningModule:
        if kind == CLASSIFIER:
            return classifier_module(self.settings.training, self._unfitted().train())
        plain = copy.deepcopy(self.classifier)
        return autoencoder_module(self.settings.training, plain, copy.deepcopy(self.with_autoencoder))

    def _fit_pace(self, kind: str, batch_size: int) -> Pace:
        def run(trainer: pl.Trainer, loader: DataLoader[Any]) -> None:
            module = self._module(kind)
            trainer.fit(module, loader)

        train = range(len(self.images.source("train").label))
        return self._pace(run, "train", train, batch_size, batch_size, limit_val_batches=0)

    def _validation_pace(self, kind: str) -> Pace:
        def run(trainer: pl.Trainer, loader: DataLoader[Any]) -> None:
            if kind == AUTOENCODER:
                trainer.validate(self._module(kind), loader, verbose=False)
            else:  # the same passes; a validation that ends early may have no score
                trainer.test(self._module(kind), loader, verbose=False)

        return self._pace(run, "val", range(len(self.images.source("val").label)), 1, VALIDATION_BATCH)

    # evaluation

    def _effects(self) -> tuple[Work, Callable[[], Pace]]:
        own = {key: value for key, value in self.content["evaluation"].items() if key not in _NO_PACE}
        code = self.content["autoencoder"] if self.asked.intervention.on_code else None
        images = len(self.asked.samples) * (1 + len(self.asked.attack.eps))
        key = self._key("effects", self.content["intervention"], code, own)
        blocks, merged = self.asked.blocks, self.asked.merged_blocks
        return Work("effects", key, images, blocks=blocks, merged_blocks=merged), self._effects_pace

    def _effects_pace(self) -> Pace:
        """With that of the tables; an approximation is timed even if it would be refused, as of random weights."""
        with tempfile.TemporaryDirectory() as folder:
            evaluation = callbacks.effect_evaluation(
                *(self.settings, Path(folder), self.images, self._networks(), self.asked.intervention, NoAttack(), {})
            )
            evaluation.refuses_approximation = False
            pace = self._test_pace(self.asked.samples, [evaluation])
            of_tables = table_pace(Path(folder), _now)
            return pace._replace(end=of_tables.joined, sums=of_tables.summed)

    def _attack(
        self, kind: str, settings: Mapping[str, Any], attack: Attack, images: int
    ) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        """An epsilon is as quick as another one, unless the attack stops once it has succeeded."""
        most = attack.most_queries(len(self.images.task.classes))
        own = {key: value for key, value in settings.items() if key != "eps"}
        groups = [[eps] for eps in attack.eps] if most else [attack.eps]
        for group in filter(len, groups):
            count = images * len(group)
            if most and not self.is_fitted:
                work = Work(kind, self._key("query", own, group), count, LOOSE, count * most)
                yield work, partial(self._query_pace, copy.deepcopy(attack), group[0])
            else:
                key = self._key("attack", own, group if most else None)
                yield Work(kind, key, count), partial(self._attack_pace, attack, group[0])

    def _attack_pace(self, attack: Attack, eps: float) -> Pace:
        return self._step_pace(lambda batch: attack(batch, self.classifier, eps))

    def _query_pace(self, attack: Attack, eps: float) -> Pace:
        """Of a forward pass in an attack on images that are classified rightly, lest it stops before it begins."""
        task = self.images.task

        def step(batch: Batch) -> Tensor:
            label = task.prediction(task.probability(self.classifier(batch.image)))
            return attack(batch._replace(label=label), self.classifier, eps)

        pace = self._step_pace(step)
        return Pace(0.0, pace.image / attack.queries[eps])

    def _maps(self) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        """The first images are explained for other networks as well, and take longer."""
        settings, samples = self.content["explanation"], self.asked.samples
        asked = self.settings.evaluation
        unknown = ""
        if settings["target"] == "prediction" and self.images.task.multilabel and not self.is_fitted:
            unknown = "how many labels are predicted is known once the classifier is fitted"
        of_job = first_samples(self.images, asked.split, asked.images, asked.only_with_boxes)
        first_ones = of_job[: settings["num_sanity_images"]]
        more = len(set(samples).intersection(first_ones))  # of a job in shards, those of the first shards
        for kind, first, count in (("maps", 0, len(samples) - more), ("maps of sanity", more, more)):
            own = {key: value for key, value in settings.items() if key != "num_sanity_images"}
            key = self._key(kind, self.content["explainer"], own, self.content["evaluation"]["permuted_labels"])
            if count:
                yield Work(kind, key, count, unknown), partial(self._maps_pace, samples[:first])

    def _maps_pace(self, sanity: Sequence[int]) -> Pace:
        samples = sanity or self.asked.samples
        networks = {CLASSIFIER: self.classifier}
        if sanity and model_cache.PERMUTED in self.asked.files:
            networks[model_cache.PERMUTED] = copy.deepcopy(self.classifier)
        with tempfile.TemporaryDirectory() as folder:
            maps = callbacks.map_evaluation(self.settings, Path(folder), self.images, sanity, networks)
            return self._test_pace(samples, list(maps))

    # detection

    def _detection(self) -> Iterator[tuple[Work, Callable[[], Pace]]]:
        detection_setup = callbacks.detection_setup(self.settings)
        assert detection_setup is not None
        own = self.settings.detection
        check_detection(self.images)
        val, test = (
            len(first_samples(self.images, split, most))
            for split, most in ((VAL, own.val_images), (TEST, own.test_images))
        )
        for name, attack in detection_setup.attacks.items():
            settings = self.content["detection"]["attacks"][name]
            for work, timed in self._attack(f"attack {name}", settings, attack, val + test):
                yield work._replace(workers=own.workers), timed
        conditions = 1 + sum(len(attack.eps) for attack in detection_setup.attacks.values())
        detectors, code, made = self.content["detector"], self.content["autoencoder"], detection_setup.detectors
        key, rows = self._key("reads", detectors, code), conditions * (val + test)
        reads = Work("what detectors read", key, rows, workers=own.workers)
        yield reads, lambda: self._step_pace(lambda batch: self._read_all(made, batch))
        learning = {n: d.supervised for n, d in made.items() if d.needs_fit}
        protocol = fit_protocol({n: a.eps for n, a in detection_setup.attacks.items()}, own.families, own.seen)
        families, hardened = len(set(protocol.family.values())), NOISE in detection_setup.attacks
        for name, fits in fits_of_detectors(learning, families, hardened, own.controls).items():
            key, shared = self._key("fits", detectors[name], code), min(own.workers, fits)
            work = Work(f"fits of {name}", key, fits * FITTED_SHARE * val, workers=shared)
            yield work, partial(self._detector_pace, made[name])
        adaptive, attacked = own.adaptive, self.settings.adaptively_attacked
        images = len(first_samples(self.images, TEST, adaptive.images))
        for name in attacked:
            runs = len(adaptive.eps) * len(DIRECTIONS) * adaptive.restarts
            key, passes = self._key("adaptive", detectors[name], code), images * runs * (1 + adaptive.steps) / 2
            work = Work(f"adaptive attack on {name}", key, passes, workers=min(own.workers, len(attacked)))
            yield work, partial(self._adaptive_pace, made[name])

    def _read(self, detector: Detector, batch: Batch) -> Tensor:
        device = batch.image.device
        with_autoencoder = self.with_autoencoder.to(device).eval() if detector.reads_code else None
        if not detector.prepared:
            detector.prepare([_twice(batch)], self.classifier, with_autoencoder)
        return detector.read(batch, self.classifier, with_autoencoder)

    @torch.no_grad()
    def _read_all(self, detectors: Mapping[str, Detector], batch: Batch) -> None:
        for detector in detectors.values():
            self._read(detector, batch).cpu()

    def _adaptive(self, detector: Detector) -> Adaptive:
        """With one step, which looks twice at an image, as many steps do once more than there are of them."""
        with_autoencoder = self.with_autoencoder if detector.reads_code else None
        eps, seed = self.settings.detection.adaptive.eps, self.settings.seed
        return Adaptive(eps, Opponent(detector, 0.0, with_autoencoder), steps=1, seed=seed)

    def _adaptive_pace(self, detector: Detector) -> Pace:
        """Of a step against a detector that is fitted to the first image."""
        own: list[Adaptive] = []

        def step(batch: Batch) -> object:
            if not own:
                own.append(self._adaptive(self._fitted(detector, self._read(detector, batch).detach())))
            return own[0](batch, self.classifier, own[0].eps[0])

        return self._step_pace(step)

    def _fitted(self, detector: Detector, read: Tensor) -> Detector:
        """A copy that is fitted to rows like these; with as many attacked ones, if it needs any."""
        fitted, (clean, attacked) = copy.copy(detector), (_like(read.cpu().float()) for _ in range(2))
        fitted.fit(clean, attacked if detector.supervised else attacked[:0])
        return fitted

    def _detector_pace(self, detector: Detector) -> Pace:
        """Of a fit, for each row of clean images."""
        taken: list[Pace] = []

        def step(batch: Batch) -> None:
            read = self._read(detector, batch).detach()
            started = _now()
            self._fitted(detector, read)
            taken.append(Pace(0.0, (_now() - started) / ROWS))

        self._step_pace(step, images=1)
        return taken[-1]

    # one batch after the other, under Lightning

    def _step_pace(self, step: Callable[[Batch], object], images: int | None = None) -> Pace:
        return self._test_pace(self.asked.samples[:images], [_Step(self.classifier, step)])

    def _test_pace(self, samples: Sequence[int], callbacks: list[Callback]) -> Pace:
        def run(trainer: pl.Trainer, loader: DataLoader[Any]) -> None:
            trainer.test(ClassifierUnderTest(self.classifier), loader, verbose=False)

        return self._pace(
            run, self.settings.evaluation.split, samples, 1, self.settings.evaluation.batch_size, callbacks
        )

    def _pace(
        self,
        run: Callable[[pl.Trainer, DataLoader[Any]], None],
        split: str,
        samples: Sequence[int],
        first: int,
        most: int,
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> Pace:
        batches = Batches(samples, first, most, _now)
        plumbing = {"devices": 1, "strategy": "auto", "enable_checkpointing": False, "max_epochs": 1, **settings}
        trainer = make_trainer(self.settings.trainer, callbacks, **plumbing)
        run(trainer, ImageDataModule(self.images).batched_dataloader(split, batches))
        return batches.pace


class _Step(Evaluation):
    """Does something with each batch."""

    def __init__(self, classifier: Classifier, step: Callable[[Batch], object]) -> None:
        super().__init__(classifier)
        self._step = step

    def measure(self, batch: Batch, logits: Tensor, batch_idx: int, dataloader_idx: int) -> None:
        self._step(batch)


def _like(read: Tensor) -> Tensor:
    """As many rows as a detector is fitted to for its pace, near those that were read, shape (B, F)."""
    rows = read[torch.arange(ROWS) % len(read)]
    return rows + 0.1 * torch.randn_like(rows) * (rows.abs() + rows.abs().mean() + 1e-3)


def _twice(batch: Batch) -> Batch:
    """The images, and each of them again with noise: several of each class, which differ, as detectors ask for."""
    doubled = batch.rows(torch.arange(2 * len(batch.image)) // 2)
    noise = (
        0.1 * torch.rand_like(doubled.image) * (torch.arange(len(doubled.image)) % 2).view(-1, 1, 1, 1).to(batch.image)
    )
    return doubled._replace(image=(doubled.image + noise).clamp(0, 1))


def _forget_gpu_peak() -> None:
    """Let `_gpu_peak` count from now on."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _gpu_peak() -> int:
    """Bytes that torch has reserved on the GPU, at most; 0 without one."""
    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0


def _now() -> float:
    """Undisturbed seconds, once the device has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return undisturbed_seconds()
