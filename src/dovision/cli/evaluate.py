"""The command dovision-evaluate: effects of an intervention on a classifier, on clean and on attacked images."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from dovision.analysis.reported import REPORTED, ReportedNumbers, comparison_lines
from dovision.analysis.summary import write_summary
from dovision.cli import session
from dovision.cli.headlines import print_headlines
from dovision.cli.hydra_main import hydra_main
from dovision.cli.train import fit_networks
from dovision.config.settings import EvaluateSettings
from dovision.evaluation import callbacks
from dovision.evaluation.callback import ClassifierUnderTest
from dovision.evaluation.effects import EffectEvaluation
from dovision.evaluation.maps import MapEvaluation
from dovision.evaluation.refuters import refutable
from dovision.evaluation.test_images import check_units
from dovision.findings.headline_numbers import numbers
from dovision.functional.norms import condition_name
from dovision.identity.plans import CLASSIFIER, Plan
from dovision.identity.shared import PlannedJob, shared
from dovision.interfaces import Attack, Intervention
from dovision.runtime.outcomes import ImagesLost
from dovision.runtime.progress import DISPLAY
from dovision.store.resumable_writer import CHUNKS_FOLDER, Resume
from dovision.store.run_directory import RunDirectory
from dovision.store.schemas import read_summary
from dovision.store.tables import CLEAN, images_without_units, measured_samples
from dovision.sweeps import sweep
from dovision.sweeps.run_status import open_run
from dovision.training import model_cache
from dovision.training.fit_callbacks import callbacks_of_tests
from dovision.training.trainer import limits, make_trainer

log = logging.getLogger(__name__)


def evaluate_effects(settings: EvaluateSettings) -> float | None:
    """Fit missing networks, measure the effects on the test images, write the tables and their summary.

    Returns:
        The number that `optimized_metric` names, nan if this run has none; None if that names nothing.
    """
    _evaluate(settings)
    return None if settings.optimized_metric is None else _optimized(settings.optimized_metric)


def _optimized(metric: str) -> float:
    try:
        return numbers(read_summary(Path(HydraConfig.get().runtime.output_dir))).get(metric, math.nan)
    except (OSError, ValueError):  # of a run that was not measured
        return math.nan


def _evaluate(settings: EvaluateSettings) -> None:
    """Measure a run from its plan to its summary, unless it is completed."""
    run = open_run(settings, Path(HydraConfig.get().runtime.output_dir))
    if run is None:
        return
    evaluation = settings.evaluation
    with session.running(run, settings) as loggers, DISPLAY.job(_steps(settings), sweep.job_name(run.path)):
        job = shared().job(settings, run.path, repeat_log=True)  # under the lock
        images = job.images
        intervention: Intervention = settings.intervention.make()
        intervention.bind(images, evaluation.split)
        if settings.refute:
            refutable(intervention)
        check_units(intervention, images, job.plan.samples)
        attack: Attack = settings.attack.make()
        detection = callbacks.detection_setup(settings)
        reported: ReportedNumbers | None = None if settings.reported is None else settings.reported.make()

        DISPLAY.step("fits")
        fits = fit_networks(settings, job, loggers)
        networks = {name: fitted.classifier for name, fitted in fits.fitted.items()}
        plan = fits.plan  # with the weights of all networks

        DISPLAY.step("effects")
        resume = Resume(evaluation.checkpoint_every, plan.origin)
        inputs = callbacks.EvaluationInputs(run.path, images, plan.samples, networks, resume)
        effects = callbacks.effect_evaluation(settings, inputs, intervention, attack)
        maps = callbacks.map_evaluation(settings, inputs)
        trainer = make_trainer(
            settings.trainer,
            [effects, *maps, *callbacks_of_tests(settings.callbacks)],
            loggers,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        data = callbacks.evaluation_data(settings, images, plan.samples)
        trainer.test(ClassifierUnderTest(networks[CLASSIFIER]), datamodule=data, verbose=False)

        if trainer.is_global_zero:
            callbacks.write_objects(run.path, images, evaluation.split, plan.samples, bool(maps))
            run.record({**plan.surroundings, **model_cache.inputs_record(images, fits.fitted)})
            _record_measured(run, settings, plan, effects, maps)
            if detection is not None:
                DISPLAY.step("detection")
                run.record(callbacks.run_detection(settings, inputs, detection, loggers))
            if settings.refute:
                DISPLAY.step("refuters")
                callbacks.run_refuters(settings, inputs, intervention, loggers)
            for drawn in maps:
                run.record({"seconds_per_map": drawn.seconds_per_map, "passes_per_map": drawn.passes_per_map})
            DISPLAY.step("summary")
            if images.files is not None:  # else opening them once more may take long
                _check_unchanged(run, job, shared().job(settings, run.path).plan)
            write_summary(run.path)
            if reported is not None:
                compared = reported.compare(run.path)
                run.record({REPORTED: compared})
                for line in comparison_lines(compared):
                    log.info(line)
    print_headlines(run.path)


def _check_unchanged(run: RunDirectory, job: PlannedJob, now: Plan) -> None:
    """Refuse, and give up, rows that were read of files that have changed since the job was planned.

    Raises:
        ValueError: the data, or files that the configuration names, are others by now.
    """
    unlike = [name for name, value in job.plan.surroundings.items() if now.surroundings[name] != value]
    if unlike := [*unlike, *(["data"] if now.data_key != job.plan.data_key else [])]:
        shutil.rmtree(run.path / CHUNKS_FOLDER, ignore_errors=True)
        raise ValueError(
            f"the files that a run reads must stay as they are until it ends, got other {', '.join(unlike)}. Run the "
            "same command again, which measures all of it again."
        )


def _record_measured(
    run: RunDirectory,
    settings: EvaluateSettings,
    plan: Plan,
    effects: EffectEvaluation,
    maps: Sequence[MapEvaluation],
) -> None:
    """Record what the effects cost, and the measured images.

    Raises:
        ImagesLost: some were not measured, or not explained.
    """
    samples = measured_samples(run.path, [CLEAN, *map(condition_name, effects.attack.eps)])
    counts = {"images": len(samples), "images_without_units": images_without_units(run.path)}
    run.record({**effects.pass_facts, **effects.attack_facts, **counts})
    if not limits(settings.trainer) and (samples != set(plan.samples) or any(drawn.lost for drawn in maps)):
        least = min([len(samples), *(drawn.tested for drawn in maps)])
        raise ImagesLost(f"{least} of {len(plan.samples)} test images were measured")


def _steps(settings: EvaluateSettings) -> list[str]:
    detection = ["detection", "detector fits", "adaptive attack"] if settings.detector else []
    return ["data", "fits", "effects", *detection, *(["refuters"] if settings.refute else []), "summary"]


main = hydra_main("evaluate", evaluate_effects)

if __name__ == "__main__":
    main()
