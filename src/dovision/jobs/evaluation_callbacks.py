"""The callbacks of an evaluation: effects, maps of explainers, and the detection of attacks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger
from torch.utils.data import DataLoader

from dovision.config.component import make_each
from dovision.config.settings import EvaluateSettings
from dovision.functional.estimates import MIN_IMAGES
from dovision.identity.dependencies import without_monitors
from dovision.identity.samples import leading_samples
from dovision.interfaces import Attack, Classifier, Explainer, Intervention
from dovision.interventions.object_cells import object_cells
from dovision.io.progress import DISPLAY
from dovision.jobs.job import Job
from dovision.measurement.adaptive_attack import UNDETECTED, Adaptive, Budget, Opponent, adaptive_rows
from dovision.measurement.by_name import one_component
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.detection import Detection, DetectionOptions
from dovision.measurement.detector_fits import Fitted, clean_threshold, shown
from dovision.measurement.effects import EffectEvaluation, EffectOptions
from dovision.measurement.maps import MapEvaluation, MapOptions
from dovision.measurement.refuters import RefuterEvaluation, RefuterOptions
from dovision.results.detection_tables import ADAPTIVE_STEPS, SCORES, TEST
from dovision.results.image_tables import write_boxes, write_object_masks
from dovision.results.resumable_writer import ResumableWriter, Resume
from dovision.results.tables import CLEAN, write_table
from dovision.results.thumbnails import PictureChoice, pictured_samples, save_image, thumbnail_path
from dovision.training.data_module import ImageDataModule
from dovision.training.trainer import limits, make_trainer


def evaluation_data(job: Job, samples: Sequence[int] | None = None) -> ImageDataModule:
    """Data module of an evaluation: these samples of its split; None: all."""
    settings: EvaluateSettings = job.settings
    return ImageDataModule(
        job.images,
        test_batch_size=settings.evaluation.batch_size,
        test_samples=samples,
        test_split=settings.evaluation.split,
        num_workers=settings.num_workers,
        seed=settings.seed,
    )


def run_test(
    settings: EvaluateSettings,
    callbacks: Sequence[Callback],
    classifier: Classifier,
    data: ImageDataModule | Sequence[DataLoader[Any]],
    loggers: Sequence[Logger],
    **devices: Any,
) -> bool:
    """Run these callbacks and the configured ones on test batches; return whether this process is the first of all."""
    callbacks = [*callbacks, *make_each(without_monitors(settings.callbacks)).values()]
    options = {"enable_checkpointing": False, "use_distributed_sampler": False, **devices}  # the data module samples
    trainer = make_trainer(settings.trainer, callbacks, loggers, **options)
    trainer.test(ClassifierUnderTest(classifier), data, verbose=False)
    return trainer.is_global_zero


def effect_evaluation(job: Job, classifier: Classifier, intervention: Intervention, attack: Attack) -> EffectEvaluation:
    """Make the callback that measures effects."""
    evaluation, images = job.settings.evaluation, job.images
    split = evaluation.split
    one_by_one = [[sample] for sample in leading_samples(evaluation, images)]  # read as they are asked for
    options = EffectOptions(
        evaluation.reference,
        evaluation.rows,
        evaluation.chunk,
        names=images.table(split)["name"].tolist(),
        pictures=PictureChoice(evaluation.num_thumbnails, dict(enumerate(images.strata(split).tolist()))),
        all_images=ImageDataModule(images).batched_dataloader(split, one_by_one),
        resume=job.resume,
        objects=object_cells(intervention, images, split),
        ranked=() if len(job.samples) >= MIN_IMAGES and job.settings.has_labels else job.samples[:MIN_IMAGES],
    )
    return EffectEvaluation(intervention, job.folder, attack, classifier, options=options)


def run_refuters(job: Job, classifier: Classifier, intervention: Intervention, loggers: Sequence[Logger]) -> None:
    """Measure the headline effects of the tables that a run has written once more, altered; see `RefuterEvaluation`."""
    settings, images = job.settings, job.images
    split, one_by_one = settings.evaluation.split, [[sample] for sample in job.samples]
    all_images = ImageDataModule(images).batched_dataloader(split, one_by_one)
    options = RefuterOptions(settings.seed, all_images, job.resume, object_cells(intervention, images, split))
    callback = RefuterEvaluation(job.folder, intervention, classifier, options)
    run_test(settings, [callback], classifier, evaluation_data(job, job.samples), loggers)


def map_evaluation(job: Job, classifier: Classifier) -> list[MapEvaluation]:
    """Make the callback that draws maps; none without explainers."""
    settings, images = job.settings, job.images
    explainers: Mapping[str, Explainer] = {
        name: one_component("explainer", explainer) for name, explainer in make_each(settings.explainer).items()
    }
    if not explainers:
        return []
    split = settings.evaluation.split
    for explainer in explainers.values():
        explainer.bind(images, split)
    masks = functools.partial(images.masks, split) if images.mask_names else None
    options = MapOptions(job.samples, images.boxes(split), masks, job.resume)
    return [MapEvaluation(explainers, job.folder, settings.explanation.make(), classifier, options=options)]


def picture_saver(job: Job) -> Callable[[int], None] | None:
    """Function that saves the picture of a sample of the measured split; None where no pictures are saved."""
    images = job.images.split(job.settings.evaluation.split)
    if not job.settings.evaluation.num_thumbnails or job.images.shape[0] not in (1, 3):
        return None
    return lambda sample: save_image(thumbnail_path(job.folder, sample, CLEAN), images[sample].image)


def write_objects(job: Job, samples: Sequence[int]) -> None:
    """Write boxes and masks of known objects: of all these samples if they are explained, or of those pictured."""
    images, split = job.images, job.settings.evaluation.split
    boxes = images.boxes(split)
    write_boxes(job.folder, boxes[boxes["sample"].isin(samples)])
    pictured = samples if job.settings.explainer else sorted(pictured_samples(job.folder))
    masked = pictured if images.mask_names else ()
    write_object_masks(job.folder, ((sample, images.masks(split, sample)) for sample in masked))


def run_detection(
    job: Job,
    classifier: Classifier,
    loggers: Sequence[Logger],
    share: ImageDataModule | None = None,
    recorded: Path | None = None,
) -> dict[str, Any]:
    """Fit the detectors on validation images, score test images in each condition; return the costs.

    Of the completed run `recorded`, which is measured again, `share` has the images that are read.

    Raises:
        ValueError: there is no validation image, or one of a patient that is tested on.
        PartialRun: some images were not read.
    """
    settings: EvaluateSettings = job.settings
    detection, tested = settings.detection, share or evaluation_data(job)
    options = DetectionOptions(
        detection.families,
        detection.seen,
        detection.controls,
        detection.reference,
        lambda fits: _adaptive(job, classifier, tested, fits, recorded or job.folder),
        whole=share is None and not limits(settings.trainer),
        attacked_share=dict(detection.attacked_share.items()),
        resume=job.resume,
        reads=recorded,
    )
    callback = Detection(
        job.folder, make_each(detection.attacks), make_each(settings.detector), classifier, options=options
    )
    one_device = {"devices": 1, "strategy": "auto"}  # so that each table is whole
    loaders = tested.detection_dataloaders(detection.val_images, detection.test_images)
    run_test(settings, [callback], classifier, loaders, loggers, **one_device)
    return callback.record


def _adaptive(
    job: Job, classifier: Classifier, data: ImageDataModule, fits: Sequence[Fitted], recorded: Path
) -> Iterator[pa.Table]:
    """Rows of scores.parquet of the adaptive attack on each named detector, in the fit that figures show.

    The steps that it took are written as adaptive.parquet. `recorded` is the run whose thresholds count.
    """
    settings: EvaluateSettings = job.settings
    adaptive = settings.detection.adaptive
    fit_of = {fitted.name: fitted for fitted in shown(fits)}
    opponent_of = {
        name: Opponent(fitted.detector, clean_threshold(recorded, fitted, UNDETECTED))
        for name, fitted in fit_of.items()
        if name in settings.adaptively_attacked
    }
    pairs = [(name, norm) for name in fit_of if name in settings.adaptively_attacked for norm in adaptive.budgets]
    if not pairs:
        return
    budget = Budget(adaptive.steps, adaptive.restarts, adaptive.targets, adaptive.draws)
    batches = data.first_dataloader(TEST, adaptive.images)
    images: int = len(batches.dataset)  # type: ignore[arg-type]  # it has a length
    ends = list(accumulate(images * len(adaptive.budgets[norm]) for _, norm in pairs))
    thresholds = {"thresholds": [[*fit_of[name][:3], one.threshold] for name, one in opponent_of.items()]}
    resume = Resume(job.resume.every, {**job.origin, **thresholds})
    schemas = {ADAPTIVE_STEPS: ADAPTIVE_STEPS.schema(), SCORES: SCORES.schema()}
    DISPLAY.step("adaptive attack")
    writer = ResumableWriter(job.folder, "adaptive", schemas, resume)
    done = writer.done

    with writer, DISPLAY.stage("adaptive attack", "images", ends[-1], done) as stage:
        for (name, norm), before in zip(pairs, [0, *ends], strict=False):
            attack = Adaptive(adaptive.budgets[norm], opponent_of[name], budget, norm, settings.seed)
            for rows in adaptive_rows(fit_of[name], attack, batches, classifier, done - before):
                writer.add(len(rows[SCORES]), rows, {})
                stage.advance(len(rows[SCORES]))
    write_table(job.folder / ADAPTIVE_STEPS, schemas[ADAPTIVE_STEPS], writer.finished(ADAPTIVE_STEPS))
    yield from writer.finished(SCORES)
