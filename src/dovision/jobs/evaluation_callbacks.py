"""The callbacks of an evaluation: effects, maps of explainers, and the detection of attacks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings
from dovision.identity.samples import leading_samples
from dovision.interfaces import Attack, Classifier, Explainer, Images, Intervention
from dovision.io.progress import DISPLAY
from dovision.measurement.adaptive_attack import (
    UNDETECTED,
    Adaptive,
    Budget,
    Opponent,
    adaptive_rows,
)
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.detection import Detection, DetectionOptions
from dovision.measurement.detector_fits import Fitted, clean_threshold, shown
from dovision.measurement.effects import EffectEvaluation, EffectOptions
from dovision.measurement.explanation_config import MapSettings
from dovision.measurement.maps import MapEvaluation, MapOptions
from dovision.measurement.refuters import RefuterEvaluation, RefuterOptions
from dovision.results.detection_tables import ADAPTIVE_STEPS, SCORES, TEST
from dovision.results.image_tables import write_boxes, write_object_masks
from dovision.results.resumable_writer import NO_RESUME, ResumableWriter, Resume
from dovision.results.tables import write_table
from dovision.results.thumbnails import PictureChoice, pictured_samples
from dovision.training.data_module import ImageDataModule
from dovision.training.fit_callbacks import callbacks_of_tests
from dovision.training.trainer import limits, make_trainer


def evaluation_data(
    settings: EvaluateSettings, images: Images, samples: Sequence[int] | None = None
) -> ImageDataModule:
    """Data module of an evaluation: these samples of its split; None: all."""
    return ImageDataModule(
        images,
        test_batch_size=settings.evaluation.batch_size,
        test_samples=samples,
        test_split=settings.evaluation.split,
        num_workers=settings.num_workers,
        seed=settings.seed,
    )


def trainer_of_tests(
    settings: EvaluateSettings, callbacks: Sequence[Callback], loggers: Sequence[Logger], **devices: Any
) -> Trainer:
    """Make the trainer of a test with these callbacks and the configured ones; it samples as the data module does."""
    callbacks = [*callbacks, *callbacks_of_tests(settings.callbacks)]
    options = {"enable_checkpointing": False, "use_distributed_sampler": False, **devices}
    return make_trainer(settings.trainer, callbacks, loggers, **options)


class EvaluationInputs(NamedTuple):
    """Inputs of a run's evaluations, and the rows to resume from."""

    folder: Path  # the run directory
    images: Images
    samples: Sequence[int]  # that are measured, in their order
    classifier: Classifier
    resume: Resume = NO_RESUME
    recorded: Path | None = None  # the completed run of which a share of the images is measured again


def effect_evaluation(
    settings: EvaluateSettings, inputs: EvaluationInputs, intervention: Intervention, attack: Attack
) -> EffectEvaluation:
    """Make the callback that measures effects."""
    evaluation, images = settings.evaluation, inputs.images
    split = evaluation.split
    one_by_one = [[sample] for sample in leading_samples(evaluation, images)]  # read as they are asked for
    options = EffectOptions(
        evaluation.reference,
        evaluation.rows,
        evaluation.chunk,
        names=images.table(split)["name"].tolist(),
        pictures=PictureChoice(evaluation.num_thumbnails, dict(enumerate(images.strata(split).tolist()))),
        all_images=ImageDataModule(images).batched_dataloader(split, one_by_one),
        resume=inputs.resume,
    )
    make = settings.callbacks["effects"].make()
    callback: EffectEvaluation = make(intervention, inputs.folder, attack, inputs.classifier, options=options)
    return callback


def run_refuters(
    settings: EvaluateSettings, inputs: EvaluationInputs, intervention: Intervention, loggers: Sequence[Logger]
) -> None:
    """Measure the headline effects of the tables that a run has written once more, altered; see `RefuterEvaluation`."""
    samples = inputs.samples
    data = evaluation_data(settings, inputs.images, samples)
    options = RefuterOptions(
        settings.seed,
        ImageDataModule(inputs.images).batched_dataloader(settings.evaluation.split, [[sample] for sample in samples]),
        inputs.resume,
    )
    callback = RefuterEvaluation(inputs.folder, intervention, inputs.classifier, options)
    trainer = trainer_of_tests(settings, [callback], loggers)
    trainer.test(ClassifierUnderTest(inputs.classifier), datamodule=data, verbose=False)


def map_evaluation(settings: EvaluateSettings, inputs: EvaluationInputs) -> list[MapEvaluation]:
    """Make the callback that draws maps; none without explainers."""
    explainers: Mapping[str, Explainer] = make_each(settings.explainer)
    if not explainers:
        return []
    images, split = inputs.images, settings.evaluation.split
    for explainer in explainers.values():
        explainer.bind(images, split)
    options = MapOptions(
        inputs.samples,
        images.boxes(split),
        functools.partial(images.masks, split) if images.mask_names else None,
        inputs.resume,
    )
    explanation: MapSettings = settings.explanation.make()
    make = settings.callbacks["maps"].make()
    return [make(explainers, inputs.folder, explanation, inputs.classifier, options=options)]


def write_objects(folder: Path, images: Images, split: str, samples: Sequence[int], explained: bool) -> None:
    """Write boxes and masks of known objects: of all explained samples, or of those pictured."""
    boxes = images.boxes(split)
    write_boxes(folder, boxes[boxes["sample"].isin(samples)])
    masked = (samples if explained else sorted(pictured_samples(folder))) if images.mask_names else ()
    write_object_masks(folder, ((sample, images.masks(split, sample)) for sample in masked))


def run_detection(
    settings: EvaluateSettings,
    inputs: EvaluationInputs,
    loggers: Sequence[Logger],
    chosen: ImageDataModule | None = None,
) -> dict[str, Any]:
    """Fit the detectors on validation images, score test images in each condition; return the costs.

    Of a completed run that is measured again, `chosen` has the images that are read.

    Raises:
        ValueError: there is no validation image, or one of a patient that is tested on.
        PartialRun: some images were not read.
    """
    detection, data = settings.detection, evaluation_data(settings, inputs.images)
    tested = chosen or data
    options = DetectionOptions(
        detection.families,
        detection.seen,
        detection.controls,
        detection.reference,
        lambda fits: _adaptive(settings, inputs, tested, fits),
        whole=chosen is None and not limits(settings.trainer),
        resume=inputs.resume,
        reads=inputs.recorded,
    )
    make = settings.callbacks["detection"].make()
    callback: Detection = make(
        inputs.folder, make_each(detection.attacks), make_each(settings.detector), inputs.classifier, options=options
    )
    one_device = {"devices": 1, "strategy": "auto"}  # so that each table is whole
    trainer = trainer_of_tests(settings, [callback], loggers, **one_device)
    loaders = tested.detection_dataloaders(detection.val_images, detection.test_images)
    trainer.test(ClassifierUnderTest(inputs.classifier), loaders, verbose=False)
    return callback.record


def _adaptive(
    settings: EvaluateSettings,
    inputs: EvaluationInputs,
    data: ImageDataModule,
    fits: Sequence[Fitted],
) -> Iterator[pa.Table]:
    """Rows of scores.parquet of the adaptive attack on each named detector, in the fit that figures show.

    The steps that it took are written as adaptive.parquet.
    """
    adaptive = settings.detection.adaptive
    fit_of = {fitted.name: fitted for fitted in shown(fits)}
    opponent_of = {
        name: Opponent(fitted.detector, clean_threshold(inputs.recorded or inputs.folder, fitted, UNDETECTED))
        for name, fitted in fit_of.items()
        if name in (*settings.adaptively_attacked, adaptive.source)
    }
    pairs = [(name, norm) for name in fit_of if name in settings.adaptively_attacked for norm in adaptive.budgets]
    if not pairs:
        return
    budget = Budget(adaptive.steps, adaptive.restarts, adaptive.targets, adaptive.draws)
    batches = data.first_dataloader(TEST, adaptive.images)
    images: int = len(batches.dataset)  # type: ignore[arg-type]  # it has a length
    ends = list(accumulate(images * len(adaptive.budgets[norm]) for _, norm in pairs))
    thresholds = {"thresholds": [[*fit_of[name][:3], one.threshold] for name, one in opponent_of.items()]}
    resume = Resume(inputs.resume.every, {**(inputs.resume.origin or {}), **thresholds})
    schemas = {ADAPTIVE_STEPS: ADAPTIVE_STEPS.schema(), SCORES: SCORES.schema()}
    DISPLAY.step("adaptive attack")
    writer = ResumableWriter(inputs.folder, "adaptive", schemas, resume)
    done = writer.done

    with writer, DISPLAY.stage("adaptive attack", "images", ends[-1], done) as stage:
        for (name, norm), before in zip(pairs, [0, *ends], strict=False):
            source = opponent_of.get(adaptive.source or "") if adaptive.source != name else None
            attack = Adaptive(adaptive.budgets[norm], opponent_of[name], budget, norm, source, settings.seed)
            for rows in adaptive_rows(fit_of[name], attack, batches, inputs.classifier, done - before):
                writer.add(rows.scores.num_rows, {ADAPTIVE_STEPS: rows.steps, SCORES: rows.scores}, {})
                stage.advance(rows.scores.num_rows)
    write_table(inputs.folder / ADAPTIVE_STEPS, schemas[ADAPTIVE_STEPS], writer.finished(ADAPTIVE_STEPS))
    yield from writer.finished(SCORES)
