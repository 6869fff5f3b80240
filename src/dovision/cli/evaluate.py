"""The command dovision-evaluate: effects of an intervention on a classifier, on clean and on attacked images."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
from dovision.evaluation.test_images import check_one_device, check_units
from dovision.findings.headline_numbers import numbers
from dovision.functional.norms import condition_name
from dovision.identity import code
from dovision.identity.plans import CLASSIFIER, MODULES, QUESTIONS, Plan
from dovision.identity.shared import PlannedJob, shared
from dovision.interfaces import Attack, Intervention
from dovision.runtime.outcomes import ImagesLost
from dovision.runtime.progress import DISPLAY
from dovision.store.job_shards import SHARD, ShardsLacking, check_complete, finished_shards, missing_shards
from dovision.store.resumable_writer import SHARDS_FOLDER, Resume
from dovision.store.run_directory import BeingWritten, RunDirectory
from dovision.store.schemas import read_summary
from dovision.store.tables import CLEAN, images_without_units, measured_samples
from dovision.sweeps import sweep
from dovision.sweeps.run_status import open_run, outdated_shards
from dovision.training import model_cache
from dovision.training.fit_callbacks import callbacks_of_tests
from dovision.training.trainer import StopAfterBatch, limits, make_trainer

log = logging.getLogger(__name__)


def evaluate_effects(settings: EvaluateSettings) -> float | None:
    """Fit missing networks, measure the effects on the test images, write the tables and their summary.

    Returns:
        The number that `optimized_metric` names, nan if this run has none; None if that names nothing.
    """
    _evaluate(settings)
    if settings.evaluation.shard is not None:
        _merge(settings)
    return None if settings.optimized_metric is None else _optimized(settings.optimized_metric)


def _optimized(metric: str) -> float:
    try:
        return numbers(read_summary(Path(HydraConfig.get().runtime.output_dir))).get(metric, math.nan)
    except (OSError, ValueError):  # of a run that was not measured
        return math.nan


def _merge(settings: EvaluateSettings) -> None:
    """Merge the shards of this job if it was the last one; a lock lets one process do it."""
    with session.merged_job(settings) as merged:
        folder = Path(HydraConfig.get().runtime.output_dir)
        while not (awaited := _awaited(merged, folder)):
            try:
                return _evaluate(merged)
            except BeingWritten:
                return log.info("another process merges the shards: %s", folder)
            except ShardsLacking:  # look again, since a job that ended meanwhile may have left the merge to this one
                continue
        log.info("%s: %s", awaited, folder)


def _awaited(settings: EvaluateSettings, folder: Path) -> str:
    """Reason why the shards of a run cannot be merged yet; empty if they can."""
    shards = settings.evaluation.shards
    if missing := missing_shards(folder, shards):
        return f"{len(missing)} of {shards} shards are not completed yet"
    if outdated := outdated_shards(shared().job(settings, folder), shards):
        numbers = ", ".join(map(str, outdated))
        return f"shards {numbers} of {shards} are of other code, data or weights, and are to be measured again"
    return ""


def _evaluate(settings: EvaluateSettings) -> None:
    """Measure a run from its plan to its summary, unless it is completed."""
    run = open_run(settings, Path(HydraConfig.get().runtime.output_dir))
    if run is None:
        return
    evaluation = settings.evaluation
    if evaluation.is_merged:
        with ExitStack() as unless_complete:  # let go of the run as it is, as long as shards are missing or outdated
            unless_complete.callback(run.close)
            outdated = outdated_shards(shared().job(settings, run.path), evaluation.shards)
            check_complete(run.path, evaluation.shards, outdated)
            unless_complete.pop_all()
    with session.running(run, settings) as (stop, loggers), DISPLAY.job(_steps(settings), sweep.job_name(run.path)):
        job = shared().job(settings, run.path, repeat_log=True)  # under the lock
        code.write_parsed(settings.output_root)
        images = job.images
        intervention: Intervention = settings.intervention.make()
        intervention.bind(images, evaluation.split)
        if settings.refute:
            refutable(intervention)
        check_units(intervention, images, job.plan.merged_samples)
        attack: Attack = settings.attack.make()
        detection = callbacks.detection_setup(settings)
        reported: ReportedNumbers | None = None if settings.reported is None else settings.reported.make()

        DISPLAY.step("fits")
        fits = fit_networks(settings, job, loggers)
        networks = {name: fitted.classifier for name, fitted in fits.fitted.items()}
        plan = fits.plan  # with the weights of all networks

        DISPLAY.step("effects")
        merged = finished_shards(run.path, evaluation.shards, plan.origin) if evaluation.is_merged else None
        resume = Resume(evaluation.checkpoint_every, plan.origin, merged)
        inputs = callbacks.EvaluationInputs(run.path, images, plan.merged_samples, networks, resume)
        effects = callbacks.effect_evaluation(settings, inputs, intervention, attack)
        maps = callbacks.map_evaluation(settings, inputs)
        trainer = make_trainer(
            settings.trainer,
            [effects, *maps, StopAfterBatch(stop), *callbacks_of_tests(settings.callbacks)],
            loggers,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        check_one_device(evaluation.shards, trainer.world_size)
        first = plan.samples[: evaluation.batch_size]  # from which the callback knows what there is
        data = callbacks.evaluation_data(settings, images, plan.samples if merged is None else first)
        trainer.test(ClassifierUnderTest(networks[CLASSIFIER]), datamodule=data, verbose=False)

        if trainer.is_global_zero:
            callbacks.write_objects(run.path, images, evaluation.split, plan.samples, bool(maps))
            run.record(
                {
                    **plan.surroundings,
                    MODULES: plan.modules,
                    QUESTIONS: plan.questions,
                    **model_cache.inputs_record(images, fits.fitted),
                }
            )
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
        shutil.rmtree(run.path / SHARDS_FOLDER, ignore_errors=True)
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
    run.record({**effects.pass_facts, **effects.attack_facts, **counts, **_shard_record(settings, effects, maps)})
    if not limits(settings.trainer) and (samples != set(plan.samples) or any(drawn.lost for drawn in maps)):
        least = min([len(samples), *(drawn.tested for drawn in maps)])
        raise ImagesLost(f"{least} of {len(plan.samples)} test images were measured")


def _shard_record(
    settings: EvaluateSettings, effects: EffectEvaluation, maps: Sequence[MapEvaluation]
) -> dict[str, dict[str, Any]]:
    """Entry of a shard's record from which it is merged; empty for other runs."""
    shard, shards = settings.evaluation.shard, settings.evaluation.shards
    if shard is None:
        return {}
    counted = {name: count for drawn in maps for name, count in drawn.counted.items()}
    return {SHARD: {"number": shard, "of": shards, "state": dict(effects.counted), "maps": counted}}


def _steps(settings: EvaluateSettings) -> list[str]:
    detection = ["detection", "detector fits", "adaptive attack"] if settings.detector else []
    return ["data", "fits", "effects", *detection, *(["refuters"] if settings.refute else []), "summary"]


main = hydra_main("evaluate", evaluate_effects)

if __name__ == "__main__":
    main()
