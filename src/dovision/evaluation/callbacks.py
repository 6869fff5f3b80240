"""The callbacks of an evaluation: effects, maps of explainers, and the detection of attacks."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pytorch_lightning.loggers import Logger
from torch.utils.data import DataLoader

from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings
from dovision.evaluation.adaptive_attack import UNDETECTED, Adaptive, AdaptiveRows, Opponent, adaptive_rows
from dovision.evaluation.callback import ClassifierUnderTest
from dovision.evaluation.detection import Detection
from dovision.evaluation.detector_fits import Fitted, clean_threshold, shown
from dovision.evaluation.effects import EffectEvaluation
from dovision.evaluation.explanation_config import MapSettings
from dovision.evaluation.maps import MapEvaluation
from dovision.identity.plans import AUTOENCODER, CLASSIFIER, PERMUTED
from dovision.interfaces import Attack, Classifier, Detector, Explainer, Images, Intervention
from dovision.runtime.forks import forked_map
from dovision.runtime.progress import DISPLAY
from dovision.store.detection_tables import ADAPTIVE_STEPS, SCORES, TEST, adaptive_schema, scores_schema
from dovision.store.shards import FinishedShard, Shards
from dovision.store.tables import write_table
from dovision.store.thumbnails import PictureChoice
from dovision.training.data_module import ImageDataModule
from dovision.training.fit_callbacks import callbacks_of_tests
from dovision.training.trainer import limits, make_trainer
from dovision.types import Batch


def evaluation_data(
    settings: EvaluateSettings, images: Images, samples: Sequence[int] | None = None
) -> ImageDataModule:
    """The images of an evaluation, of its split those of these samples, None: all."""
    own = settings.evaluation
    return ImageDataModule(
        images,
        test_batch_size=own.batch_size,
        test_samples=samples,
        test_split=own.split,
        num_workers=settings.num_workers,
        seed=settings.seed,
    )


def effect_evaluation(
    settings: EvaluateSettings,
    folder: Path,
    images: Images,
    networks: Mapping[str, Classifier],
    intervention: Intervention,
    attack: Attack,
    origin: Mapping[str, Any],
    merged: Sequence[FinishedShard] | None = None,
    samples: Sequence[int] | None = None,
) -> EffectEvaluation:
    """The callback that measures effects; `origin` is what its rows depend on besides the configuration.

    `merged` are the shards of which the rows are taken, None: they are measured. `samples` are those of all shards, of
    which one chooses the engine.
    """
    own, make = settings.evaluation, settings.callbacks["effects"].make()
    evaluation: EffectEvaluation = make(
        intervention,
        folder,
        attack,
        networks[CLASSIFIER],
        measured=networks[AUTOENCODER if intervention.on_code else CLASSIFIER],
        reference=own.reference,
        keep=own.keep,
        top_k=own.top_k,
        chunk=own.chunk,
        approximate=own.approximate,
        names=images.table(own.split)["name"].tolist(),
        pictures=PictureChoice(own.num_thumbnails, dict(enumerate(images.strata(own.split).tolist()))),
        store_adversarial=own.store_adversarial,
        checkpoint_every=own.checkpoint_every,
        origin=origin,
        merged=merged,
        all_images=None if samples is None else _one_by_one(images, own.split, samples),
    )
    return evaluation


def _one_by_one(images: Images, split: str, samples: Sequence[int]) -> DataLoader[Batch]:
    """Batches of one image each, read as they are asked for."""
    return ImageDataModule(images).batched_dataloader(split, [[sample] for sample in samples])


def map_evaluation(
    settings: EvaluateSettings,
    folder: Path,
    images: Images,
    samples: Sequence[int],
    networks: Mapping[str, Classifier],
    origin: Mapping[str, Any] | None = None,
    merged: Sequence[FinishedShard] | None = None,
) -> list[MapEvaluation]:
    """The callback that draws the maps of the configured explainers; none if there are no explainers.

    `samples` are those of all shards; `origin` and `merged` as of `effect_evaluation`.
    """
    explainers: Mapping[str, Explainer] = make_each(settings.explainer)
    if not explainers:
        return []
    split = settings.evaluation.split
    for explainer in explainers.values():
        explainer.bind(images, split)
    explanation: MapSettings = settings.explanation.make()
    more: dict[str, Any] = {"samples": samples, "permuted": networks.get(PERMUTED), "boxes": images.boxes(split)}
    more |= {"checkpoint_every": settings.evaluation.checkpoint_every, "origin": origin, "merged": merged}
    if images.mask_names:
        more["masks"] = functools.partial(images.masks, split)
    return [settings.callbacks["maps"].make()(folder, explainers, explanation, networks[CLASSIFIER], **more)]


class DetectionSetup(NamedTuple):
    """Detectors, and the attacks whose images they are to separate from clean ones; both by name."""

    detectors: Mapping[str, Detector]
    attacks: Mapping[str, Attack]

    @property
    def reads_code(self) -> bool:
        """True if a detector reads the code of an autoencoder."""
        return any(detector.reads_code for detector in self.detectors.values())


def detection_setup(settings: EvaluateSettings) -> DetectionSetup | None:
    """The configured detectors and attacks; None if there are no detectors."""
    if not settings.detector:
        return None
    return DetectionSetup(make_each(settings.detector), make_each(settings.detection.attacks))


def run_detection(
    settings: EvaluateSettings,
    folder: Path,
    images: Images,
    networks: Mapping[str, Classifier],
    setup: DetectionSetup,
    loggers: Sequence[Logger],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Fit the detectors on validation images, score test images in every condition, and say what it took.

    `origin` is as of `effect_evaluation`.

    Raises:
        ValueError: there is no validation image, or one of a patient that is tested on.
        ImagesLost: some images were not read.
    """
    classifier = networks[CLASSIFIER]
    with_autoencoder = networks[AUTOENCODER] if setup.reads_code else None
    own, data = settings.detection, evaluation_data(settings, images)
    detection: Detection = settings.callbacks["detection"].make()(
        folder,
        setup.attacks,
        setup.detectors,
        classifier,
        with_autoencoder=with_autoencoder,
        store_adversarial=settings.evaluation.store_adversarial,
        families=own.families,
        seen=own.seen,
        controls=own.controls,
        reference=own.reference,
        adaptive=lambda fits: _adaptive(settings, folder, data, fits, with_autoencoder, classifier, origin),
        whole=not limits(settings.trainer),
        checkpoint_every=settings.evaluation.checkpoint_every,
        workers=own.workers,
        origin=origin,
    )
    one_device = {"devices": 1, "strategy": "auto"}  # so that each table is whole
    own_and_more = [detection, *callbacks_of_tests(settings.callbacks)]
    trainer = make_trainer(settings.trainer, own_and_more, loggers, enable_checkpointing=False, **one_device)
    loaders = data.detection_dataloaders(own.val_images, own.test_images)
    trainer.test(ClassifierUnderTest(classifier), loaders, verbose=False)
    return detection.record


def _adaptive(
    settings: EvaluateSettings,
    folder: Path,
    data: ImageDataModule,
    fits: Sequence[Fitted],
    with_autoencoder: Classifier | None,
    classifier: Classifier,
    origin: Mapping[str, Any],
) -> Iterator[pa.Table]:
    """The adaptive attacker's rows of scores.parquet, against the fit of each named detector that figures show.

    The steps that it took are written as adaptive.parquet.
    """
    own = settings.detection.adaptive
    named = shown([fitted for fitted in fits if fitted.name in settings.adaptively_attacked])
    if not named:
        return
    batches = data.first_dataloader(TEST, own.images)
    images = len(own.eps) * len(batches.dataset)  # type: ignore[arg-type]  # it has a length
    limits_of = {fitted[:3]: clean_threshold(folder, fitted, UNDETECTED) for fitted in named}
    origin = {**origin, "thresholds": [[*fit, limit] for fit, limit in limits_of.items()]}
    schemas = {ADAPTIVE_STEPS: adaptive_schema(), SCORES: scores_schema()}
    DISPLAY.step("adaptive attack")
    shards = Shards(folder, "adaptive", schemas, settings.evaluation.checkpoint_every, origin)
    done = shards.done

    def against(number: int) -> Iterable[AdaptiveRows]:
        fitted = named[number]
        opponent = Opponent(fitted.detector, limits_of[fitted[:3]], with_autoencoder)
        attack = Adaptive(own.eps, opponent, own.steps, own.restarts, own.draws, settings.seed)
        rows = adaptive_rows(fitted, attack, batches, classifier, done - number * images)
        return rows if settings.detection.workers == 1 else list(rows)  # which can be sent

    with shards, DISPLAY.stage("adaptive attack", "images", len(named) * images, done) as stage:
        for found in forked_map(against, range(len(named)), settings.detection.workers):
            for rows in found:
                shards.add(rows.scores.num_rows, {ADAPTIVE_STEPS: rows.steps, SCORES: rows.scores}, {})
                stage.advance(rows.scores.num_rows)
    write_table(folder / ADAPTIVE_STEPS, adaptive_schema(), shards.finished(ADAPTIVE_STEPS))
    yield from shards.finished(SCORES)
