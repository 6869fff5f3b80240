"""The command dovision-verify: measure a share of a run's rows again, and print how they agree with the recorded."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings, VerifySettings
from dovision.identity.code import software
from dovision.identity.dependencies import CLASSIFIER, DATA, surroundings
from dovision.identity.provenance import provenance
from dovision.identity.samples import evaluated_samples
from dovision.interfaces import Classifier, Images
from dovision.io.files import sha256
from dovision.io.process_state import isolated
from dovision.io.progress import DISPLAY
from dovision.io.signals import JobFailed
from dovision.jobs.evaluation_callbacks import (
    effect_evaluation,
    evaluation_data,
    map_evaluation,
    run_detection,
    run_test,
    write_objects,
)
from dovision.jobs.job import Job
from dovision.jobs.recorded_runs import recorded_images, recorded_networks, recorded_run, recorded_settings
from dovision.measurement.by_name import one_component
from dovision.measurement.recomputation import FORGED, Agreement, ImageShare, Remainder
from dovision.results.detection_tables import TEST, VAL
from dovision.results.run_files import LOCK, RUN, RUN_FILES, digest_differences
from dovision.results.run_record import CONFIG, Run
from dovision.results.schemas import DIGESTS
from dovision.training.model_cache import FittedModel

_MACHINE = ("device", "instructions", "threads", "measurement")  # entries of run.json


class RowsUnchecked(JobFailed):
    """All that was measured again agrees, but of some tables nothing was."""

    exit_code = 2


def verify_run(command: Job) -> None:
    """Check digests of a run's files, weights and data, measure a share of its images again, and print the agreement.

    The summary and the results of detection are compared with those of the recorded tables.

    Raises:
        FileNotFoundError: there is no such run, or its weights or data are not found.
        ValueError: the run is damaged or not completed, or its data or files have changed.
        JobFailed: files or rows differ.
        RowsUnchecked: else, no row of some tables was compared.
    """
    options: VerifySettings = command.settings
    run = recorded_run(options.run)
    if run.state != "completed":
        raise ValueError(f"run must be completed, got {run.folder}, which is {run.state}.")
    unlike = digest_differences(run.folder, run.record)
    print(f"{len(run.record.get(DIGESTS, {}))} files recorded, {len(unlike)} of them changed since")
    print("".join(f"  {difference}\n" for difference in unlike), end="")
    settings = _settings_of(run, options)
    steps = ["data", *(["detector fits", "adaptive attack"] if settings.detector else [])]
    with DISPLAY.job(steps), isolated(settings.seed, settings.threads), TemporaryDirectory() as folder:
        networks = recorded_networks(run, settings, run.record["checkpoint_files"])
        images = _images(run, settings, networks)
        weights = [model.weights for model in networks.values()]
        print(f"weights {', '.join(weights)} and data {images.fingerprint[:12]} found")
        now = {**provenance(), **software()}
        print(f"then: {_machine(run.record)}\nnow:  {_machine(now)}", flush=True)
        classifier = networks[CLASSIFIER].classifier
        classifier.coded = tuple(model.classifier for name, model in networks.items() if name != CLASSIFIER)
        samples = evaluated_samples(settings.evaluation, images)
        job = Job(Path(folder), (), settings, images=images, samples=samples)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        share = ImageShare(images, settings.evaluation.batch_size, options.share, seed)
        measured, remainder = _measure_again(job, classifier, share, run.folder)
        agreement = Agreement(run.folder, options.tolerance, options.attacked_tolerance)
        agreement.of_tables(Path(folder), remainder)
        agreement.of_derived(Path(folder), bool(settings.detector), settings.detection.reference)
    print(
        f"{measured} of {len(samples)} images measured again (share {options.share:g}, seed {seed}): rows forged in "
        f"{FORGED:.0%} of the batches are found with probability {share.power:.2f}"
    )
    table = pd.DataFrame(agreement.rows)
    print(table.to_string(index=False), *(f"different: {sentence}" for sentence in agreement.sentences), sep="\n")
    compared = table["table"][(table["rows"] == 0) | table[["equal", "within", "different"]].any(axis=1)]
    checked = {run.folder / name for name in (*compared, RUN, LOCK, CONFIG)}
    unchecked = [file.path for file in RUN_FILES if {*file.find(run.folder)} - checked]
    print(f"not checked: {', '.join([*unchecked, 'device, times and software in run.json'])}")
    if unlike or agreement.sentences:
        raise JobFailed(str(run.folder))
    if len(compared) < len(table):
        raise RowsUnchecked(str(run.folder))


def _measure_again(job: Job, classifier: Classifier, share: ImageShare, recorded: Path) -> tuple[int, Remainder]:
    """Write tables of a share of a run's images as its evaluation does; return how many, and the samples left out.

    Detectors are fitted to, and score, what the run has recorded of all images; of the share it is read again.
    """
    settings: EvaluateSettings = job.settings
    samples = share.drawn(job.samples)
    intervention = one_component("intervention", settings.intervention.make())
    intervention.bind(job.images, settings.evaluation.split)
    effects = effect_evaluation(job, classifier, intervention, one_component("attack", settings.attack.make()))
    maps = map_evaluation(job, classifier)
    run_test(settings, [effects, *maps], classifier, evaluation_data(job, samples), ())
    write_objects(job, samples)
    remainder = Remainder({*job.samples}.difference(samples))
    if not settings.detector:  # a dataset may then lack a validation split
        return len(samples), remainder
    run_detection(job, classifier, (), share, recorded)
    most = settings.detection
    firsts = [(VAL, most.val_images), (TEST, most.test_images), (TEST, most.adaptive.images)]
    undrawn = ({*(first := share.first(*of))}.difference(share.drawn(first)) for of in firsts)
    return len(samples), Remainder(remainder.evaluated, *undrawn)


def _settings_of(run: Run, settings: VerifySettings) -> EvaluateSettings:
    """Settings of a run for this machine: one device, and the data at `root`."""
    trusted_by = f"dovision-verify run={run.folder} trust_checkpoint=true"
    job = recorded_settings(run, settings.trust_checkpoint, trusted_by, whole=True)
    accelerator = "cpu" if run.config["trainer"].get("accelerator") == "cpu" else "auto"
    trainer = job.trainer.replaced(accelerator=accelerator, devices=1, strategy="auto")
    dataset = job.dataset if settings.root is None else job.dataset.replaced(root=str(settings.root))
    return job.model_copy(update={"trainer": trainer, "dataset": dataset})


def _images(run: Run, job: EvaluateSettings, networks: Mapping[str, FittedModel]) -> Images:
    """Dataset of a run, with the classes of its classifier; errors as of `verify_run`."""
    remedy = f"Name the folder that has it: dovision-verify run={run.folder} root=FOLDER."
    try:
        images = recorded_images(job, networks)
    except (OSError, ValueError) as error:
        raise ValueError(f"the data of the run cannot be read: {error_text(error)} {remedy}") from error
    if images.fingerprint != run.record[DATA]:
        got = f"{images.fingerprint[:12]}, recorded {run.record[DATA][:12]}"
        raise ValueError(f"the data must be those that the run has measured, got others ({got}). {remedy}")
    recorded, files = run.record.get("files", {}), surroundings(job, images, sha256)["files"]
    if unlike := [name for name, digest in recorded.items() if files.get(name) != digest]:
        raise ValueError(
            f"{' and '.join(unlike)} must name the files that the run has measured with, got others or none. Put them "
            f"where {run.folder / CONFIG} names them."
        )
    return images


def _machine(record: Mapping[str, Any]) -> str:
    """Processor, threads, measurement and versions of a record in a line."""
    values = {name: record.get(name, "not recorded") for name in _MACHINE} | record.get("versions", {})
    return ", ".join(str(value) if name == "device" else f"{name} {value}" for name, value in values.items())
