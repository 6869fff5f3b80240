"""Reuse of a completed run for the one that a configuration asks for now."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig

from dovision.config import hashing
from dovision.config.settings import EvaluateSettings, TrainSettings, plain
from dovision.interfaces import Images
from dovision.models import checkpoint
from dovision.runtime.fingerprints import SETTLED, Fingerprints, stat_files
from dovision.runtime.process_state import is_rank_zero
from dovision.store import run_files
from dovision.store.job_shards import shard_folders
from dovision.store.provenance import software, surroundings
from dovision.store.run_directory import DAMAGED, DONE, OUTDATED, RunDirectory
from dovision.store.run_files import RUN
from dovision.training import model_cache

log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """Whether a run is left as it is."""

    state: str  # that of the run directory, or OUTDATED
    skip: str = ""  # why it is left; empty if it is to be done
    unlike: str = ""  # in what a completed run differs from the one that is asked for


def open_run(settings: EvaluateSettings) -> RunDirectory | None:
    """This job's run directory, locked; None, and a line in the log, if `rerun` leaves the job as it is.

    Raises:
        BeingWritten: another process is at work on this run.
        FileNotFoundError, ValueError: there is a completed run, but the data or the checkpoint that are configured now
            cannot be read, so that nobody knows whether it is of these.
    """
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    if not is_rank_zero():
        return run
    with Fingerprints(settings.output_root) as prints:
        decision = decide(run, settings, prints)
        if not decision.skip:  # so that skipping needs no lock
            run.hold()
            try:
                decision = decide(run, settings, prints)  # another process may have completed it while this one waited
            except BaseException:
                run.close()
                raise
    if decision.skip:
        run.close()
        log.info("%s: %s", decision.skip, run.path)
        return None
    if decision.unlike:
        log.warning("measured again, since the completed run has %s: %s", decision.unlike, run.path)
    if decision.state == DAMAGED:
        log.warning("%s cannot be read, and the run is taken for interrupted", run.path / RUN)
    return run


def decide(run: RunDirectory, settings: EvaluateSettings, prints: Fingerprints) -> Decision:
    """Whether `rerun` leaves a run as it is. The answer is final under the run's lock.

    Raises:
        FileNotFoundError, ValueError: see `open_run`.
    """
    state = run.state
    if settings.rerun == "all":
        return Decision(state)
    unlike = "; ".join(differences(settings, run, prints)) if state == "completed" else ""
    state = OUTDATED if unlike else state
    skip = ""
    if state == "completed":
        skip = DONE
    elif settings.rerun == "failed" and state != "failed":
        skip = f"skipped (state: {state}, rerun=failed)"
    elif settings.rerun == "unfinished" and state == "failed":
        skip = "skipped (state: failed, rerun=unfinished)"
    return Decision(state, skip, unlike)


def differences(settings: EvaluateSettings, run: RunDirectory, prints: Fingerprints) -> list[str]:
    """In what a completed run differs from the one that the configuration asks for now; empty if it stands for it.

    The name of a directory is no proof of what is in it: a run may have been copied there, or made to write there.
    Data and weights are looked at only if all else is equal.

    Raises:
        FileNotFoundError, ValueError: data or checkpoint cannot be read.
    """
    facts = run.facts()
    surround = surroundings(settings, prints.file)
    unlike = [_changed(name, facts.get(name), now) for name, now in surround.items() if facts.get(name) != now]
    unlike += run_files.digest_differences(run.path, facts, prints.file)
    if unlike:
        return unlike
    data = prints.data(data_key(settings), settings.dataset.make)
    if data != facts["dataset_fingerprint"]:
        return [_changed("data", facts["dataset_fingerprint"][:12], data[:12])]
    return list(_weights(settings, facts, data, prints))


def outdated_shards(settings: EvaluateSettings, merged: Path) -> dict[int, str]:
    """In what completed shards of a run differ from those that the configuration asks for now, by their numbers.

    Raises:
        FileNotFoundError, ValueError: data or checkpoint cannot be read.
    """
    runs = [RunDirectory(folder) for folder in shard_folders(merged, settings.evaluation.shards)]
    with Fingerprints(settings.output_root) as prints:
        found = {number: _outdated(settings, run, prints) for number, run in enumerate(runs)}
    return {number: unlike for number, unlike in found.items() if unlike}


def _outdated(settings: EvaluateSettings, run: RunDirectory, prints: Fingerprints) -> str:
    """In what a run differs; empty if it is not completed, or meanwhile measured again by another process."""
    try:
        return "; ".join(differences(settings, run, prints)) if run.state == "completed" else ""
    except FileNotFoundError:
        if run.state == "completed":
            raise
        return ""


class _Opened(NamedTuple):
    """The dataset of an earlier job of this process, and the state of its files when it was opened."""

    key: str
    state: str
    images: Images
    logged: _DatasetLog


class _DatasetLog(logging.Handler):
    """What datasets log, from when one is opened, once each message."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: dict[str, logging.LogRecord] = {}
        _DATASETS.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._records.setdefault(record.getMessage(), record)

    def repeat(self) -> None:
        """Write it into the files to which the log goes now, such as the next job's run.log, and nowhere else."""
        for handler in logging.getLogger().handlers:
            for record in self._records.values() if isinstance(handler, logging.FileHandler) else ():
                handler.handle(record)


_DATASETS = logging.getLogger("dovision.datasets")
_OPENED: list[_Opened] = []  # the last one, or none


def open_images(settings: TrainSettings) -> Images:
    """The configured dataset, whose fingerprint is found again by later commands.

    Later jobs of a sweep share it as long as its files stay as they are, and have in their run.log what it has warned
    of; each opens its own where the images have no labels, which take their classes from the job's classifier.
    """
    key, began = data_key(settings), time.time()
    for last in _OPENED:
        if last.key == key and stat_files(last.images.files or ()).state == last.state:
            last.logged.repeat()
            return last.images
        _DATASETS.removeHandler(last.logged)
    _OPENED.clear()
    logged = _DatasetLog()
    try:
        with Fingerprints(settings.output_root) as prints:
            images = prints.opened(key, settings.dataset.make)
        if images.files is not None and settings.has_labels:
            seen = stat_files(images.files)
            if seen.changed < began - SETTLED:
                _OPENED.append(_Opened(key, seen.state, images, logged))
        return images
    finally:
        if not _OPENED:
            _DATASETS.removeHandler(logged)


def data_key(settings: TrainSettings) -> str:
    """A hash of all that a dataset is made of but the content of its files; a link counts as what it leads to."""
    content = plain(settings.dataset)
    libraries = hashing.reading_libraries()
    real = {name: os.path.realpath(path) for name, path in hashing.paths_named(content).items()}
    made = {"settings": content, **software(), "libraries": libraries, "components": hashing.foreign_code(content)}
    return hashing.content_hash({**made, "real": real, "folder": os.getcwd()})  # in which relative paths are meant


def _weights(settings: EvaluateSettings, facts: Mapping[str, Any], data: str, prints: Fingerprints) -> Iterator[str]:
    """Which networks are others now; one whose file is gone is the same if all that shapes its fit is."""
    for name, before in facts["checkpoints"].items():
        path = model_cache.file(settings, name, data, facts["checkpoints"][model_cache.CLASSIFIER], prints.file)
        now = prints.file(path)[: len(before)] if path.exists() else None
        if now == before:
            continue
        if name == model_cache.CLASSIFIER and settings.checkpoint is not None and settings.foreign_checkpoint is None:
            checkpoint.read_checkpoint(path)  # raises if missing or damaged, before a completed run is given up for it
        what = f"weights of the {name.replace('_', ' ')}"
        if now is not None:
            yield f"{_changed(what, before, now)} in {path}"
        elif path.parent.name != Path(facts["checkpoint_files"][name]).parent.name:
            yield f"other {what}"


def _changed(name: str, before: object, now: object) -> str:
    """A difference in words; of mappings, that of their first key that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in [*before, *now] if before.get(key) != now.get(key))
        return f"other {name}: {key} ({before.get(key)}, now {now.get(key)})"
    return f"other {name} ({before}, now {now})"
