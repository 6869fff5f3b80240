"""The command dovision-evaluate: effects of an intervention on a classifier, on clean and on attacked images."""

from __future__ import annotations

import logging
import math
import shutil
from dataclasses import replace
from typing import Any

from dovision.config.settings import EvaluateSettings
from dovision.functional.norms import condition_name
from dovision.interventions.mask_files import check_units
from dovision.io.outcomes import PartialRun
from dovision.io.progress import DISPLAY
from dovision.jobs import evaluation_callbacks as callbacks
from dovision.jobs import session
from dovision.jobs.headlines import print_headlines
from dovision.jobs.hydra_main import hydra_main
from dovision.jobs.job import Job, open_run
from dovision.jobs.train import fitted_network
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.refuters import refutable
from dovision.results import reported, resumable_writer, tables
from dovision.results.headline_numbers import numbers
from dovision.results.run_directory import RunDirectory
from dovision.results.run_findings import write_findings
from dovision.results.run_record import read_run
from dovision.results.schemas import read_summary
from dovision.results.summary import write_summary
from dovision.training import model_cache
from dovision.training.trainer import limits

log = logging.getLogger(__name__)


def evaluate_effects(job: Job) -> float | None:
    """Fit missing networks, measure the effects on the test images, write the tables and their summary.

    Returns:
        The number that `optimized_metric` names, nan if this run has none; None if that names nothing.
    """
    _evaluate(job)
    if job.settings.optimized_metric is None:
        return None
    try:
        return numbers(read_summary(job.folder)).get(job.settings.optimized_metric, math.nan)
    except (OSError, ValueError):  # of a run that was not measured
        return math.nan


def _evaluate(job: Job) -> None:
    """Measure a run from its plan to its summary, unless it is completed."""
    run, settings = open_run(job), job.settings
    if run is None:
        return
    evaluation = settings.evaluation
    with session.running(run, job) as loggers, DISPLAY.job(_steps(settings), job.name if job.in_sweep else ""):
        cache = model_cache.Networks(job.shared, settings, run.path)  # under the lock
        images, samples = cache.images, cache.plan.samples
        intervention = settings.intervention.make()
        intervention.bind(images, evaluation.split)
        if settings.refute:
            refutable(intervention)
        check_units(intervention, images, samples)
        attack = settings.attack.make()
        published = None if settings.reported is None else settings.reported.make()

        DISPLAY.step("fits")
        names = [*cache.plan.network_keys]
        classifier, *coded = (fitted_network(settings, cache, name, loggers).classifier for name in names)
        classifier.coded = tuple(coded)

        DISPLAY.step("effects")
        resume = resumable_writer.Resume(evaluation.checkpoint_every, cache.plan.origin)
        inputs = callbacks.EvaluationInputs(run.path, images, samples, classifier, resume)
        effects = callbacks.effect_evaluation(settings, inputs, intervention, attack)
        maps = callbacks.map_evaluation(settings, inputs)
        trainer = callbacks.trainer_of_tests(settings, [effects, *maps], loggers)
        data = callbacks.evaluation_data(settings, images, samples)
        trainer.test(ClassifierUnderTest(classifier), datamodule=data, verbose=False)

        if trainer.is_global_zero:
            callbacks.write_objects(run.path, images, evaluation.split, samples, bool(maps))
            run.record({**cache.plan.surroundings, **model_cache.inputs_record(images, cache.fitted)})
            measured = tables.measured_samples(run.path, [tables.CLEAN, *map(condition_name, effects.attack.eps)])
            counts = {"images": len(measured), "images_without_units": tables.images_without_units(run.path)}
            run.record({**effects.pass_facts, **effects.attack_facts, **counts})
            if not limits(settings.trainer) and (measured != {*samples} or any(drawn.lost for drawn in maps)):
                least = min([len(measured), *(drawn.tested for drawn in maps)])
                raise PartialRun(f"{least} of {len(samples)} test images were measured")
            detected: dict[str, Any] = {}
            if settings.detector:
                DISPLAY.step("detection")
                detected = callbacks.run_detection(settings, inputs, loggers)
                run.record(detected)
            if settings.refute:
                DISPLAY.step("refuters")
                callbacks.run_refuters(settings, inputs, intervention, loggers)
            for drawn in maps:
                run.record({"seconds_per_map": drawn.seconds_per_map, "passes_per_map": drawn.passes_per_map})
            DISPLAY.step("summary")
            if images.files is not None:  # else opening them once more may take long
                _check_unchanged(run, cache)
            write_summary(run.path)
            if published is not None:
                compared = published.compare(run.path)
                run.record({reported.REPORTED: compared})
                for line in reported.comparison_lines(compared):
                    log.info(line)
            write_findings(replace(read_run(run.path), summary=read_summary(run.path)), run.path)
            if failed := detected.get("failed_attacks"):
                reasons = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
                raise PartialRun(f"attacks left out of detection: {reasons}")
    print_headlines(run.path)


def _check_unchanged(run: RunDirectory, cache: model_cache.Networks) -> None:
    """Refuse, and give up, rows that were read of files that have changed since the job was planned.

    Raises:
        ValueError: the data, or files that the configuration names, are others by now.
    """
    now = cache.plan_of_now()
    unlike = [name for name, value in cache.plan.surroundings.items() if now.surroundings[name] != value]
    if unlike := [*unlike, *(["data"] if now.data_key != cache.plan.data_key else [])]:
        shutil.rmtree(run.path / resumable_writer.CHUNKS_FOLDER, ignore_errors=True)
        raise ValueError(
            f"the files that a run reads must stay as they are until it ends, got other {', '.join(unlike)}. Run the "
            "same command again, which measures all of it again."
        )


def _steps(settings: EvaluateSettings) -> list[str]:
    detection = ["detection", "detector fits", "adaptive attack"] if settings.detector else []
    return ["data", "fits", "effects", *detection, *(["refuters"] if settings.refute else []), "summary"]


main = hydra_main("evaluate", evaluate_effects)

if __name__ == "__main__":
    main()
