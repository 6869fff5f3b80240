"""The command dovision-verify: measure a share of a run's rows again, and print how they agree with the recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dovision.cli.hydra_main import hydra_main
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings, VerifySettings
from dovision.evaluation.callbacks import EvaluationInputs
from dovision.evaluation.opened_network import recorded_images, recorded_networks, recorded_run, recorded_settings
from dovision.evaluation.recomputation import measure_again, summary_agreement, table_agreement
from dovision.identity.plans import DATA, surroundings
from dovision.identity.provenance import provenance
from dovision.identity.samples import evaluated_samples, shard_samples
from dovision.interfaces import Images
from dovision.io.files import sha256
from dovision.runtime.outcomes import JobFailed
from dovision.runtime.process_state import isolated
from dovision.runtime.progress import DISPLAY
from dovision.store.run_files import digest_differences
from dovision.store.run_record import CONFIG, Run
from dovision.store.schemas import DIGESTS
from dovision.training.model_cache import FittedModel

_MACHINE = ("device", "instructions", "threads", "code")  # entries of run.json


class RowsUnchecked(JobFailed):
    """All that was measured again agrees, but of some tables nothing was."""

    exit_code = 2


def verify_run(settings: VerifySettings) -> None:
    """Check digests of a run's files, weights and data, measure a share of its images again, and print the agreement.

    The summary is compared with that of the recorded tables.

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
    job = _settings_of(run, settings)
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
        drawn = measure_again(job, inputs, settings.share, settings.seed)
        tolerances = settings.tolerance, settings.attacked_tolerance
        whole = settings.share == 1
        tables, sentences = table_agreement(run.folder, Path(folder), None if whole else drawn, *tolerances)
        summary, of_summary = summary_agreement(run.folder, Path(folder), settings.tolerance)
        tables, sentences = pd.concat([tables, summary]), [*sentences, *of_summary]
    share = f"(share {settings.share:g}, seed {settings.seed})"
    print(
        f"{len(drawn.evaluated)} of {len(shard_samples(job.evaluation, inputs.samples))} images measured again {share}"
    )
    print("\n".join([tables.to_string(index=False), *(f"different: {sentence}" for sentence in sentences)]))
    unchecked = tables["table"][(tables["rows"] > 0) & (tables[["equal", "within", "different"]].sum(axis=1) == 0)]
    if len(unchecked):
        print(f"nothing was checked of {', '.join(unchecked)}")
    if unlike or sentences:
        raise JobFailed(str(run.folder))
    if len(unchecked):
        raise RowsUnchecked(str(run.folder))


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
        "evaluation": job.evaluation.model_copy(update={"store_adversarial": False}),
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
