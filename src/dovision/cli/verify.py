"""The command dovision-verify: measure a share of a run's rows again, and print how they agree with the recorded."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dovision.cli.hydra_main import hydra_main
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings, VerifySettings
from dovision.evaluation.callbacks import EvaluationInputs
from dovision.evaluation.opened_network import recorded_images, recorded_networks, recorded_run, recorded_settings
from dovision.evaluation.recomputation import FORGED, ImageShare, derived_agreement, measure_again, table_agreement
from dovision.identity.plans import DATA, surroundings
from dovision.identity.provenance import provenance
from dovision.identity.samples import evaluated_samples
from dovision.interfaces import Images
from dovision.io.files import sha256
from dovision.runtime.outcomes import JobFailed
from dovision.runtime.process_state import isolated
from dovision.runtime.progress import DISPLAY
from dovision.store.run_files import LOCK, RUN, RUN_FILES, digest_differences
from dovision.store.run_record import CONFIG, Run
from dovision.store.schemas import DIGESTS
from dovision.training.model_cache import FittedModel

_MACHINE = ("device", "instructions", "threads", "code")  # entries of run.json


class RowsUnchecked(JobFailed):
    """All that was measured again agrees, but of some tables nothing was."""

    exit_code = 2


def verify_run(settings: VerifySettings) -> None:
    """Check digests of a run's files, weights and data, measure a share of its images again, and print the agreement.

    The summary and the results of detection are compared with those of the recorded tables.

    Raises:
        FileNotFoundError: there is no such run, or its weights or data are not found.
        ValueError: the run is damaged or not completed, or its data or files have changed.
        JobFailed: files or rows differ.
        RowsUnchecked: else, no row of some tables was compared.
    """
    run = recorded_run(settings.run)
    if run.state != "completed":
        raise ValueError(f"run must be completed, got {run.folder}, which is {run.state}.")
    unlike = digest_differences(run.folder, run.record)
    print(f"{len(run.record.get(DIGESTS, {}))} files recorded, {len(unlike)} of them changed since")
    print("\n".join(f"  {difference}" for difference in unlike), end="\n" if unlike else "")
    job, seed = _settings_of(run, settings), secrets.randbits(32) if settings.seed is None else settings.seed
    steps = ["data", *(["detector fits", "adaptive attack"] if job.detector else [])]
    with DISPLAY.job(steps), isolated(job.seed, job.threads), TemporaryDirectory() as folder:
        networks = recorded_networks(run, job, run.record["checkpoint_files"])
        images = _images(run, job, networks)
        weights = [model.weights for model in networks.values()]
        print(f"weights {', '.join(weights)} and data {images.fingerprint[:12]} found")
        now = {**provenance(), "code": surroundings(job, sha256)["code"]}
        print(f"then: {_machine(run.record)}\nnow:  {_machine(now)}", flush=True)
        classifiers = {name: model.classifier for name, model in networks.items()}
        inputs = EvaluationInputs(
            Path(folder), images, evaluated_samples(job.evaluation, images), classifiers, recorded=run.folder
        )
        share = ImageShare(images, job.evaluation.batch_size, settings.share, seed)
        measured, remainder = measure_again(job, inputs, share)
        tolerances = settings.tolerance, settings.attacked_tolerance
        rows, sentences = table_agreement(run.folder, Path(folder), remainder, *tolerances)
        derived, of_derived = derived_agreement(run.folder, Path(folder), job, settings.tolerance)
        rows, sentences = [*rows, *derived], [*sentences, *of_derived]
    print(
        f"{measured} of {measured + len(remainder.evaluated)} images measured again (share {settings.share:g}, "
        f"seed {seed}): rows forged in {FORGED:.0%} of the batches are found with probability {share.power:.2f}"
    )
    print("\n".join([pd.DataFrame(rows).to_string(index=False), *(f"different: {line}" for line in sentences)]))
    print(f"not checked: {', '.join(_unchecked(run.folder, {row['table'] for row in rows}))}")
    empty = [row["table"] for row in rows if row["rows"] and not row["equal"] + row["within"] + row["different"]]
    if empty:
        print(f"nothing was checked of {', '.join(empty)}")
    if unlike or sentences:
        raise JobFailed(str(run.folder))
    if empty:
        raise RowsUnchecked(str(run.folder))


def _unchecked(folder: Path, compared: Collection[str]) -> list[str]:
    """Files of a run, by their patterns, that are not compared with anything but their digests."""
    checked = {*compared, RUN, LOCK, CONFIG}
    patterns = {file.path: {path.relative_to(folder).as_posix() for path in file.find(folder)} for file in RUN_FILES}
    return [
        *(pattern for pattern, names in patterns.items() if names - checked),
        f"device, times and software in {RUN}",
    ]


def _settings_of(run: Run, settings: VerifySettings) -> EvaluateSettings:
    """Settings of a run for this machine: one device, and the data at `root`."""
    trusted_by = f"dovision-verify run={run.folder} trust_checkpoint=true"
    try:
        job = recorded_settings(run, settings.trust_checkpoint, trusted_by, whole=True)
    except ValueError as error:
        then, now = (record.get("versions", {}).get("dovision", "unknown") for record in (run.record, provenance()))
        of_version = "" if then == now else f" The run is of dovision {then}, with which it can be verified."
        raise ValueError(f"{error}{of_version}") from error
    accelerator = "cpu" if run.config["trainer"].get("accelerator") == "cpu" else "auto"
    changed: dict[str, Any] = {
        "trainer": job.trainer.replaced(accelerator=accelerator, devices=1, strategy="auto"),
    }
    if settings.root is not None:
        changed["dataset"] = job.dataset.replaced(root=str(settings.root))
    return job.model_copy(update=changed)


def _images(run: Run, job: EvaluateSettings, networks: Mapping[str, FittedModel]) -> Images:
    """Dataset of a run, with the classes of its classifier.

    Raises:
        FileNotFoundError, ValueError: it is not there, or it or files that the settings name are others than measured.
    """
    remedy = f"Name the folder that has it: dovision-verify run={run.folder} root=FOLDER."
    try:
        images = recorded_images(job, networks)
    except (OSError, ValueError) as error:
        raise ValueError(f"the data of the run cannot be read: {error_text(error)} {remedy}") from error
    if images.fingerprint != run.record[DATA]:
        got = f"{images.fingerprint[:12]}, recorded {run.record[DATA][:12]}"
        raise ValueError(f"the data must be those that the run has measured, got others ({got}). {remedy}")
    recorded, files = run.record.get("files", {}), surroundings(job, sha256)["files"]
    if unlike := [name for name, digest in recorded.items() if files.get(name) != digest]:
        raise ValueError(
            f"{' and '.join(unlike)} must name the files that the run has measured with, got others or none. Put them "
            f"where {run.folder / CONFIG} names them."
        )
    return images


def _machine(record: Mapping[str, Any]) -> str:
    """Processor, threads, code and versions of a record in a line."""
    values = {name: record.get(name, "not recorded") for name in _MACHINE} | record.get("versions", {})
    return ", ".join(str(value) if name == "device" else f"{name} {value}" for name, value in values.items())


main = hydra_main("verify", verify_run)

if __name__ == "__main__":
    main()
