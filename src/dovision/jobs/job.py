"""A job: what is asked, made from its configuration wherever it runs, and whether its run stands for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dovision.config.settings import EvaluateSettings
from dovision.identity.dependencies import (
    AUTOENCODER,
    CHECKPOINTS,
    CLASSIFIER,
    DATA,
    NetworkKey,
    Shared,
    network_keys,
    surroundings,
)
from dovision.identity.samples import evaluated_samples
from dovision.interfaces import Images
from dovision.io.process_state import is_rank_zero
from dovision.results import run_files
from dovision.results.resumable_writer import Resume
from dovision.results.run_files import RUN
from dovision.results.run_record import DAMAGED, DONE, OUTDATED, Run

log = logging.getLogger(__name__)
BASIC = "BasicLauncher"  # class of Hydra's own launcher


@dataclass(frozen=True)
class Job:
    """What is asked: its settings, and the folder of its run; a pure function of a configuration.

    Once it is identified it has its images, and all that its numbers depend on: jobs of one `origin` have equal rows.
    """

    folder: Path
    overrides: tuple[str, ...]  # as typed; ${...} stays, so that none holds a value of the environment
    settings: Any = None
    number: int = 0
    common: frozenset[str] = frozenset()  # keys that all jobs of the sweep have in common
    in_sweep: bool = True
    shared: Shared = field(default_factory=Shared, compare=False)
    images: Images = field(default=None, repr=False, compare=False)  # type: ignore[assignment]
    data: str = ""  # the fingerprint of the images
    networks: Mapping[str, NetworkKey] = field(default_factory=dict)  # by name, in the order in which they are fitted
    surroundings: Mapping[str, Any] = field(default_factory=dict)  # what the rows depend on besides
    samples: Sequence[int] = ()  # of the images that are measured, in their order

    @classmethod
    def of(cls, hydra: Any, settings: Any, shared: Shared) -> Job:
        """Job of its settings and of Hydra's own node of its configuration."""
        in_sweep = hydra.mode == RunMode.MULTIRUN
        if OmegaConf.is_missing(hydra.runtime, "output_dir"):  # before the job starts
            folder = Path(hydra.sweep.dir) / hydra.sweep.subdir if in_sweep else Path(hydra.run.dir)
        else:
            folder = Path(hydra.runtime.output_dir)
        number = 0 if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num
        common = frozenset(hydra.job.config.override_dirname.exclude_keys)
        return cls(folder.absolute(), plain_overrides(hydra, "task"), settings, number, common, in_sweep, shared)

    def identified(self) -> Job:
        """The same job with its images and all that its numbers depend on, as it is now.

        Raises:
            FileNotFoundError, ValueError: the data cannot be read, or have none of the images that are to be measured.
        """
        settings, digests = self.settings, self.shared.digests(self.settings.output_root)
        images = self.shared.images(settings.dataset)
        data = images.identified(digests.many)
        job = replace(self, images=images, data=data, networks=network_keys(settings, data, digests))
        if isinstance(settings, EvaluateSettings):
            around, samples = surroundings(settings, images, digests), evaluated_samples(settings.evaluation, images)
            job = replace(job, surroundings=around, samples=samples)
        digests.save()
        return job

    @property
    def origin(self) -> dict[str, Any]:
        """Everything that the rows depend on, under run.json's names; weights of unfitted networks count as None."""
        weights = {name: key.weights for name, key in self.networks.items()}
        return {**self.surroundings, DATA: self.data, CHECKPOINTS: weights}

    @property
    def resume(self) -> Resume:
        """Rows that a new start of its run resumes from."""
        return Resume(self.settings.evaluation.checkpoint_every, self.origin)

    def with_weights(self, name: str, weights: str) -> Job:
        """The job after a network is fitted or read; an autoencoder's key follows from the classifier's weights."""
        keys = {**self.networks, name: replace(self.networks[name], weights=weights)}
        if name == CLASSIFIER and AUTOENCODER in keys:
            keys[AUTOENCODER] = keys[AUTOENCODER].behind(weights, self.shared.digests(self.settings.output_root))
        return replace(self, networks=keys)

    def differences(self, record: Mapping[str, Any]) -> list[str]:
        """Differences of a completed run from this job, which is identified; empty if there are none.

        Weights that are not there are named only if all else is equal, since code and settings shape them. A network
        whose checkpoint is gone is the same if all that shapes its fit is.
        """
        weights = record[CHECKPOINTS]
        fits = {name: Path(file).parent.name for name, file in record["checkpoint_files"].items()}
        networks, classifier = self.networks, self.networks[CLASSIFIER]
        if classifier.weights is None and weights[CLASSIFIER] and classifier.path.parent.name == fits[CLASSIFIER]:
            networks = self.with_weights(CLASSIFIER, weights[CLASSIFIER]).networks  # by which its autoencoder is found
        unlike, before = list[str](), {**record, "data": record[DATA][:12]}
        for name, value in {**self.surroundings, "data": self.data[:12]}.items():
            earlier = before.get(name)
            if isinstance(earlier, Mapping) and isinstance(value, Mapping):
                keys = [key for key in {**earlier, **value} if earlier.get(key) != value.get(key)]
                unlike += [f"other {name}: {key} ({earlier.get(key)}, now {value.get(key)})" for key in keys]
            elif earlier != value:
                unlike.append(f"other {name} ({earlier}, now {value})")
        lines = list[str]()
        for name, earlier in weights.items():
            what, key = f"other weights of the {name.replace('_', ' ')}", networks.get(name)
            if key is not None and key.weights is not None:
                lines += [f"{what} ({earlier}, now {key.weights}) in {key.path}"] * (key.weights != earlier)
            elif not unlike and (key is None or key.path.parent.name != fits[name]):
                lines.append(what)
        return [*unlike, *lines]

    def reason_to_skip(self, run: Run) -> str:
        """Why the run of this job is left as it is, final under its lock; empty if the job is due.

        Of a run that is not of this job the state is OUTDATED, and the differences are its `problem`. The job is
        identified, for which data and weights are read, only if the run is completed.

        Raises:
            FileNotFoundError, ValueError: there is a completed run, but the data or the checkpoint that are configured
                now cannot be read, so that nobody knows whether it is of these.
        """
        rerun, state = self.settings.rerun, run.look().state
        unlike = _unlike(run, self) if state == "completed" and rerun != "all" else ""
        if unlike and rerun == "none":
            return f"accepted as it is, by rerun=none, with {'; '.join(unlike.splitlines())}"
        if unlike:
            state, run.state, run.problem = OUTDATED, OUTDATED, unlike
        if rerun == "failed" and state not in ("failed", "completed"):
            return f"skipped (state: {state}, rerun=failed)"
        if rerun == "unfinished" and state == "failed":
            return "skipped (state: failed, rerun=unfinished)"
        return DONE if state == "completed" and rerun != "all" else ""

    @property
    def differing(self) -> tuple[str, ...]:
        """Overrides that distinguish it in its sweep."""
        return tuple(word for word in self.overrides if word.lstrip("+~").partition("=")[0] not in self.common)

    @property
    def name(self) -> str:
        """Overrides that distinguish it; all of them if there are none."""
        return " ".join(self.differing or self.overrides) or "as configured"

    @property
    def group(self) -> str:
        """Name of the runs that belong together: `name`, and in a sweep an id of what its jobs share.

        The same command has the same id, and so has one with more values of the same keys.
        """
        name = str(self.settings.record()["name"])
        if not self.in_sweep:
            return name
        keys = sorted(word.lstrip("+~").partition("=")[0] for word in self.differing)
        shared = sorted(word.lstrip("+~").partition("=")[::2] for word in {*self.overrides} - {*self.differing})
        return f"{name}-{sha256(repr((keys, shared)).encode()).hexdigest()[:6]}"


def open_run(job: Job) -> Run | None:
    """Lock the run of a job; None, with a log line, if it is left as it is.

    Raises:
        BeingWritten: another process is at work on this run.
        FileNotFoundError, ValueError: see `Job.reason_to_skip`.
    """
    run = Run(job.folder)
    if not is_rank_zero():
        return run
    if not (reason := job.reason_to_skip(run)):  # so that skipping needs no lock
        run.hold()
        try:
            reason = job.reason_to_skip(run)  # another process may have completed it meanwhile
        except BaseException:
            run.close()
            raise
    if reason:
        leave(run, reason)
        return None
    for difference in run.problem.splitlines():
        log.warning("rerun: %s: %s", difference, run.folder)
    if run.state == DAMAGED:
        log.warning("interrupted: %s cannot be read", run.folder / RUN)
    return run


def leave(run: Run, reason: str) -> None:
    """Leave a run as it is; a log line says why."""
    run.close()
    run.remove_chunks()
    log.info("%s: %s", reason, run.folder)


def _unlike(run: Run, job: Job) -> str:
    """Describe how a completed run differs from its job; empty if it does not.

    The name of a directory is no proof of what is in it: a run may have been copied there, or made to write there.
    """
    job = job.identified()
    digests, classifier = job.shared.digests(job.settings.output_root), job.networks[CLASSIFIER]
    try:
        unlike = [*job.differences(run.record), *run_files.digest_differences(run.folder, run.record, digests)]
    except FileNotFoundError:
        if run.look().state == "completed":
            raise
        return ""  # another process measures it again
    if classifier.is_given and classifier.weights != run.record[CHECKPOINTS][CLASSIFIER]:
        from dovision.models.checkpoint import read_checkpoint  # with torchvision

        read_checkpoint(classifier.path)  # raises if missing or damaged, before a completed run is given up for it
    return "\n".join(unlike)


def plain_overrides(hydra: Any, node: str) -> tuple[str, ...]:
    """Unresolved overrides of Hydra or of the task; each job resolves ${...} itself."""
    return tuple(map(str, cast("list[Any]", OmegaConf.to_container(hydra.overrides[node], resolve=False))))


def plugin(config: DictConfig, role: str) -> str:
    """Class of a configuration's launcher or sweeper."""
    return str(config.hydra[role].get("_target_", "")).rpartition(".")[2]
