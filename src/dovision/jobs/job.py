"""A job: what is asked, made once from its configuration wherever it runs, and whether its run stands for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dovision.identity.differences import differences
from dovision.identity.plans import CLASSIFIER, Plan
from dovision.identity.shared import Shared
from dovision.io.process_state import is_rank_zero
from dovision.results import run_files
from dovision.results.run_directory import DAMAGED, DONE, OUTDATED, RunDirectory
from dovision.results.run_files import RUN

log = logging.getLogger(__name__)
NAMED = ("dataset", "model", "autoencoder", "training", "intervention", "attack")  # groups that name a single job
BASIC = "BasicLauncher"  # class of Hydra's own launcher
_LONGEST = 60  # characters of a name in a dashboard


@dataclass(frozen=True)
class Job:
    """What is asked: its settings, and the folder of its run; a pure function of a configuration."""

    folder: Path
    overrides: tuple[str, ...]  # as typed; ${...} stays, so that none holds a value of the environment
    settings: Any = None
    number: int = 0
    common: frozenset[str] = frozenset()  # keys that all jobs of the sweep have in common
    in_sweep: bool = True
    choices: Mapping[str, Any] = field(default_factory=dict)  # components by group
    shared: Shared = field(default_factory=Shared, compare=False)

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
        choices, words = dict(hydra.runtime.choices), plain_overrides(hydra, "task")
        return cls(folder.absolute(), words, settings, number, common, in_sweep, choices, shared)

    def due(self, run: RunDirectory) -> bool:
        """Return whether a run is to be done for this job, final under its lock; set `status`, `skip`, `unlike` of it.

        The plan of the job, for which data and weights are read, is made only if the run is completed.

        Raises:
            FileNotFoundError, ValueError: there is a completed run, but the data or the checkpoint that are configured
                now cannot be read, so that nobody knows whether it is of these.
        """
        record, rerun = run.look(), self.settings.rerun
        run.status, run.skip = record["state"], ""
        run.unlike = _unlike(run, record, self) if run.status == "completed" and rerun != "all" else ""
        if run.unlike and rerun == "none":
            run.skip = f"accepted as it is, by rerun=none, with {'; '.join(run.unlike.splitlines())}"
            run.unlike = ""
        elif run.unlike:
            run.status = OUTDATED
        elif run.status == "completed" and rerun != "all":
            run.skip = DONE
        if rerun == "failed" and run.status not in ("failed", "completed"):
            run.skip = f"skipped (state: {run.status}, rerun=failed)"
        elif rerun == "unfinished" and run.status == "failed":
            run.skip = "skipped (state: failed, rerun=unfinished)"
        return not run.skip

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

    def title(self, checkpoint: Path | None = None, unused: Sequence[str] = ()) -> str:
        """Readable name: its sweep's factors, or its components but the unused, with a checkpoint's file."""
        if self.in_sweep and self.differing:
            keys = [word.lstrip("+~").partition("=")[::2] for word in self.differing]
            last = [key.rpartition(".")[2] for key, _ in keys]
            short = [name if last.count(name) == 1 else key for (key, _), name in zip(keys, last, strict=True)]
            name = " ".join(f"{key}={value}" for key, (_, value) in zip(short, keys, strict=True))
        else:
            choices = self.choices if checkpoint is None else {**self.choices, "model": checkpoint.stem}
            components = [str(choices[group]) for group in NAMED if choices.get(group) and group not in unused]
            name = "-".join(component for component in components if component not in ("none", "default"))
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 7]}-{sha256(name.encode()).hexdigest()[:6]}"


def open_run(job: Job) -> RunDirectory | None:
    """Lock the run directory of a job; None, with a log line, if `rerun` skips the job.

    Raises:
        BeingWritten: another process is at work on this run.
        FileNotFoundError, ValueError: see `Job.due`.
    """
    run = RunDirectory(job.folder)
    if not is_rank_zero():
        return run
    if due := job.due(run):  # so that skipping needs no lock
        run.hold()
        try:
            due = job.due(run)  # another process may have completed it meanwhile
        except BaseException:
            run.close()
            raise
    if not due:
        leave(run)
        return None
    for difference in run.unlike.splitlines():
        log.warning("rerun: %s: %s", difference, run.path)
    if run.status == DAMAGED:
        log.warning("interrupted: %s cannot be read", run.path / RUN)
    return run


def leave(run: RunDirectory) -> None:
    """Leave a run that is not due as it is; a log line says why."""
    run.close()
    run.remove_chunks()
    log.info("%s: %s", run.skip, run.path)


def _unlike(run: RunDirectory, record: Mapping[str, Any], job: Job) -> str:
    """Describe how a completed run differs from its job; empty if it does not.

    The name of a directory is no proof of what is in it: a run may have been copied there, or made to write there.
    """
    plan, _, digests = job.shared.job(job.settings, job.folder)
    try:
        before = Plan.recorded(run.path, record)
        unlike = [*differences(before, plan, digests), *run_files.digest_differences(run.path, record, digests)]
    except FileNotFoundError:
        if run.look()["state"] == "completed":
            raise
        return ""  # another process measures it again
    classifier = plan.network_keys[CLASSIFIER]
    if classifier.is_given and classifier.weights != before.network_keys[CLASSIFIER].weights:
        from dovision.models.checkpoint import read_checkpoint  # with torchvision

        read_checkpoint(classifier.path)  # raises if missing or damaged, before a completed run is given up for it
    return "\n".join(unlike)


def plain_overrides(hydra: Any, node: str) -> tuple[str, ...]:
    """Unresolved overrides of Hydra or of the task; each job resolves ${...} itself."""
    return tuple(map(str, cast("list[Any]", OmegaConf.to_container(hydra.overrides[node], resolve=False))))


def plugin(config: DictConfig, role: str) -> str:
    """Class of a configuration's launcher or sweeper."""
    return str(config.hydra[role].get("_target_", "")).rpartition(".")[2]
