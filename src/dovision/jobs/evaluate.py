"""The command dovision-evaluate: effects of an intervention on a classifier, on clean and on attacked images."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import Any

from dovision.config.settings import EvaluateSettings
from dovision.functional.norms import condition_name
from dovision.interventions.mask_files import check_units
from dovision.io.progress import DISPLAY
from dovision.io.signals import PartialRun
from dovision.jobs import evaluation_callbacks as callbacks
from dovision.jobs import session
from dovision.jobs.closing import print_headlines
from dovision.jobs.job import Job, open_run
from dovision.jobs.train import fitted_network
from dovision.measurement.by_name import one_component
from dovision.measurement.refuters import refutable
from dovision.results import tables
from dovision.results.resumable_writer import CHUNKS_FOLDER
from dovision.results.run_findings import write_findings
from dovision.results.run_record import read_run
from dovision.results.schemas import read_summary
from dovision.results.summary import write_summary
from dovision.training.model_cache import FittedModel, inputs_record
from dovision.training.trainer import limits

log = logging.getLogger(__name__)


def evaluate_effects(job: Job) -> None:
    """Fit missing networks, measure the effects on the test images, write the tables and their summary.

    A run that is completed is left as it is.
    """
    run, settings = open_run(job), job.settings
    if run is None:
        return
    evaluation = settings.evaluation
    with session.running(run, job) as loggers, DISPLAY.job(_steps(settings), job.name if job.in_sweep else ""):
        job = job.identified()  # under the lock
        images, samples = job.images, job.samples
        intervention = one_component("intervention", settings.intervention.make())
        intervention.bind(images, evaluation.split)
        if settings.refute:
            refutable(intervention)
        check_units(intervention, images, samples)
        attack = one_component("attack", settings.attack.make())

        DISPLAY.step("fits")
        fitted: dict[str, FittedModel] = {}
        for name in job.networks:
            job, fitted[name] = fitted_network(job, name, fitted, loggers)
        classifier, *coded = (model.classifier for model in fitted.values())
        classifier.coded = tuple(coded)

        DISPLAY.step("effects")
        effects = callbacks.effect_evaluation(job, classifier, intervention, attack)
        maps = callbacks.map_evaluation(job, classifier)
        data = callbacks.evaluation_data(job, samples)
        if callbacks.run_test(settings, [effects, *maps], classifier, data, loggers):
            callbacks.write_objects(job, samples)
            run.update({**job.surroundings, **inputs_record(images, fitted)})
            measured = tables.measured_samples(run.folder, [tables.CLEAN, *map(condition_name, effects.attack.eps)])
            counts = {"images": len(measured), "images_without_units": tables.images_without_units(run.folder)}
            run.update({**effects.pass_facts, **effects.attack_facts, **counts})
            if not limits(settings.trainer) and (measured != {*samples} or any(drawn.lost for drawn in maps)):
                least = min([len(measured), *(drawn.tested for drawn in maps)])
                raise PartialRun(f"{least} of {len(samples)} test images were measured")
            detected: dict[str, Any] = {}
            if settings.detector:
                DISPLAY.step("detection")
                detected = callbacks.run_detection(job, classifier, loggers)
                run.update(detected)
            if settings.refute:
                DISPLAY.step("refuters")
                callbacks.run_refuters(job, classifier, intervention, loggers)
            for drawn in maps:
                run.update({"seconds_per_map": drawn.seconds_per_map, "passes_per_map": drawn.passes_per_map})
            DISPLAY.step("summary")
            if images.files is not None:  # else opening them once more may take long
                _check_unchanged(job)
            write_summary(run.folder)
            completed = replace(read_run(run.folder), summary=read_summary(run.folder))
            write_findings(completed, run.folder, callbacks.picture_saver(job))
            if failed := detected.get("failed_attacks"):
                reasons = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
                raise PartialRun(f"attacks left out of detection: {reasons}")
    print_headlines(run.folder)


def _check_unchanged(job: Job) -> None:
    """Refuse, and give up, rows that were read of files that have changed since the job was identified.

    Raises:
        ValueError: the data, or files that the configuration names, are others by now.
    """
    now = job.identified()
    unlike = [name for name, value in job.surroundings.items() if now.surroundings[name] != value]
    if unlike := [*unlike, *(["data"] if now.data != job.data else [])]:
        shutil.rmtree(job.folder / CHUNKS_FOLDER, ignore_errors=True)
        raise ValueError(
            f"the files that a run reads must stay as they are until it ends, got other {', '.join(unlike)}. Run the "
            "same command again, which measures all of it again."
        )


def _steps(settings: EvaluateSettings) -> list[str]:
    detection = ["detection", "detector fits", "adaptive attack"] if settings.detector else []
    return ["data", "fits", "effects", *detection, *(["refuters"] if settings.refute else []), "summary"]
