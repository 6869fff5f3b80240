"""A run, written and read: run.json shows whether the rest can be relied on; and the runs found under a folder."""

from __future__ import annotations

import functools
import json
import shutil
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from dovision import checks
from dovision.config.sources import without_values
from dovision.io.atomic import remove_partial
from dovision.io.files import sha256
from dovision.io.locking import Lock, is_locked
from dovision.io.text_files import make_folder, read_json, read_yaml, write_json, write_text, yaml_text
from dovision.results import run_files
from dovision.results.effect_sums import SUMS
from dovision.results.factors import factor_text, factor_values, natural
from dovision.results.resumable_writer import CHUNKS_FOLDER
from dovision.results.run_files import LOCK, RUN
from dovision.results.schemas import DIGESTS, STATES, read_summary, verified, with_digest
from dovision.results.tables import EFFECTS, SAMPLES, read_schema

MODEL = "model"  # of the facts: the component of the classifier that was measured, as its checkpoint has it
CONFIG = ".hydra/config.yaml"
UNREADABLE, FOREIGN, COPY = "unreadable", "foreign", "copy"  # states of what cannot be used; see `survey`
SAME = ("settings", "dataset_fingerprint", "checkpoints")  # of two runs that answer one question
DONE = "already completed, nothing to do"
OUTDATED = "outdated"  # the state of a completed run that does not stand for the one that is asked for
MISSING, DAMAGED = "missing", "damaged"  # where there is no run.json, and where it names no state of a run
_NOTHING: Mapping[str, Any] = MappingProxyType({})
LOCK_PATIENCE = 1.0  # seconds to wait for the lock, which is held for an instant by who looks whether it is


class BeingWritten(FileExistsError):
    """Another process is writing the run."""


@dataclass
class Run:
    """A run: a folder, and what its files say of it; its tables are read on demand.

    Every write replaces run.json in one step, so a run that is killed never looks complete. A lock is held from `hold`
    or `start` to the end of the run or of its process, whichever comes first: "running" without it is "interrupted".
    Under the lock nobody else changes the state, so what is decided from it there stays right.

    `label` distinguishes it from the other runs of its sweep.
    """

    folder: Path
    label: str = ""
    state: str = ""  # of when it was last read or written, or OUTDATED; empty before
    record: Mapping[str, Any] = field(default_factory=dict)  # run.json
    config: Mapping[str, Any] = field(default_factory=dict)  # .hydra/config.yaml, with a checkpoint's own model
    summary: Mapping[str, Any] = field(default_factory=dict)  # summary.json; empty unless the run is completed
    problem: str = ""  # why it cannot be read (see `survey`), or in what it differs from its job, a line each

    @functools.cached_property
    def _lock(self) -> Lock:
        return Lock(self.folder / LOCK)

    @property
    def overrides(self) -> tuple[str, ...]:
        return tuple(self.record.get("overrides", ()))

    @property
    def seed(self) -> int:
        return int(self.record.get("seed", 0))

    @property
    def failure(self) -> str:
        """Type and first line of the exception, or why the run cannot be read; empty otherwise."""
        error = self.record.get("exception")
        return f"{error['type']}: {error['message']}".splitlines()[0] if error else self.problem

    def look(self) -> Run:
        """Read run.json as it is now; where there is none the state is "missing", where it is invalid "damaged"."""
        if not self._lock.held:
            self._read()
            if self.state == "running" and not is_locked(self.folder / LOCK):
                self._read()  # the run may have ended between the two looks
                self.state = "interrupted" if self.state == "running" else self.state
        return self

    def read_record(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, edited, or of something else; the error names it.
        """
        path = self.folder / RUN
        record = verified(read_json(path), path)
        if record.get("state") not in STATES:
            raise ValueError(f"{path} must name a state of a run, got {record.get('state')!r}. Run the job again.")
        return record

    def hold(self) -> None:
        """Acquire the lock, and create its directory.

        Raises:
            BeingWritten: another process holds it.
            OSError: the directory cannot be written to.
            ValueError: the directory or an entry of it is a link to elsewhere.
        """
        run_files.require_no_links(self.folder)
        if self._lock.held:
            return
        make_folder(self.folder, setting="output_root")
        if not self._lock.acquire(LOCK_PATIENCE):
            raise BeingWritten(
                f"{self.folder} must be free, got one that another process is writing. Wait for it, or choose another "
                "folder (output_root=...)."
            )
        self._read()

    def start(
        self, config: Mapping[str, Any], overrides: Sequence[str], entries: Mapping[str, Any], afresh: bool = False
    ) -> None:
        """Begin the run: remove remains except finished chunks, write config, overrides and "running".

        Args:
            afresh: remove the chunks as well, and a completed run.

        Raises:
            FileExistsError: a completed run is there already, or another process is at work there.
            OSError: the directory cannot be written to.
        """
        with ExitStack() as on_failure:
            self.hold()
            on_failure.callback(self.close)
            if self.state == "completed" and not afresh:
                raise FileExistsError(
                    f"{self.folder} must not hold a completed run, got one. Its tables can be read as they are; "
                    "to run again delete the folder or choose another (output_root=...)."
                )
            self.config = config
            run_files.remove_remains(self.folder, afresh)
            remove_partial(self.folder)
            (self.folder / ".hydra").mkdir(exist_ok=True)
            for name, content in (("config", checks.plain_value("config", config)), ("overrides", list(overrides))):
                write_text(self.folder / ".hydra" / f"{name}.yaml", yaml_text(content))
            self._write({"state": "running", "overrides": list(overrides), **entries})
            on_failure.pop_all()

    def update(self, entries: Mapping[str, Any]) -> None:
        """Add entries of plain types to run.json; known names are replaced."""
        self._write({**((self._lock.held and self.record) or self.read_record()), **entries})

    def complete(self, entries: Mapping[str, Any]) -> None:
        """Complete the run, once all tables have their final names; after an error it can still be ended otherwise."""
        self.update({**entries, "state": "completed", DIGESTS: run_files.digests(self.folder)})
        shutil.rmtree(self.folder / CHUNKS_FOLDER, ignore_errors=True)
        self.close()

    def leave_partial(self, reason: str, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run without some images; the next start uses the finished ones."""
        self._end({**entries, "state": "partial", "reason": reason})

    def fail(self, exception: BaseException, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run with an error, recorded with its traceback, without environment values."""
        trace = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
        message, trace = (without_values(text, self.config) for text in (str(exception), trace))
        error = {"type": type(exception).__name__, "message": message, "traceback": trace}
        self._end({**entries, "state": "failed", "exception": error})

    def interrupt(self, reason: str, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run from outside unless it has ended; the next start uses what is finished."""
        if self.state == "running":
            self._end({**entries, "state": "interrupted", "reason": reason})
        self.close()

    def remove_chunks(self) -> None:
        """Remove finished chunks from a completed run that was killed before it had removed them."""
        if (self.folder / CHUNKS_FOLDER).exists() and self._lock.acquire(LOCK_PATIENCE):
            self._read()
            if self.state == "completed":
                shutil.rmtree(self.folder / CHUNKS_FOLDER, ignore_errors=True)
            self.close()

    def close(self) -> None:
        """Release the lock; a run that has not ended becomes interrupted."""
        self._lock.release()

    def _end(self, entries: Mapping[str, Any]) -> None:
        with closing(self):
            self.update(entries)

    def _read(self) -> None:
        try:
            self.record = self.read_record()
            self.state = self.record["state"]
        except FileNotFoundError:
            self.record, self.state = {}, MISSING
        except ValueError:
            self.record, self.state = {}, DAMAGED

    def _write(self, entries: Mapping[str, Any]) -> None:
        record = {str(key): checks.plain_value(f"fact {key}", value) for key, value in entries.items()}
        write_json(self.folder / RUN, with_digest(record))
        self.record, self.state = record, str(record["state"])


def read_sweep(folder: str | Path) -> list[Run]:
    """Read all runs at or under a folder, ordered by path; folders without a run.json are skipped.

    Raises:
        FileNotFoundError: there is no such folder, or no run in it.
        ValueError: a run.json, or a completed run's config or summary, is damaged; the error names the file.
    """
    folder = Path(folder)
    return labelled(folder, [read_run(path) for path in run_folders(folder)])


def survey(folder: Path) -> list[Run]:
    """Runs at or under a folder, ordered by label; runs that cannot be used are marked.

    These have the state "unreadable" (damaged, or of another version), "foreign" (another program's run.json) or
    "copy" (a second run of the same settings, data and weights, which would count twice), and their `failure` says
    why. Each file of a completed run is held against its recorded digest before it is trusted.

    Raises:
        FileNotFoundError: there is no such folder, or no run.json in it.
    """
    runs = labelled(folder, list(_once(_examined(path) for path in run_folders(folder))))
    return sorted(runs, key=lambda run: natural(run.label))


def run_folders(folder: Path) -> list[Path]:
    """Folders with a run.json at or under a folder, ordered by path.

    Raises:
        FileNotFoundError: there is no such folder, or no run.json in it.
    """
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.glob("*/")]
        near = checks.suggestion(folder.name, beside)
        raise FileNotFoundError(f"sweep must be a folder of runs, got {folder}, which does not exist.{near}")
    folders = sorted(path.parent for path in folder.rglob(RUN))
    if not folders:
        raise FileNotFoundError(
            f"sweep must be a folder of runs, got {folder}, which holds no {RUN}. Run dovision-evaluate first, "
            "or name the folder that it wrote to."
        )
    return folders


def read_run(path: Path) -> Run:
    """Read the run in a folder, without a label.

    Raises:
        ValueError: its run.json, config, or summary if it is completed, is damaged, or the config is not the one that
            was recorded; the error names the file.
    """
    run, file = Run(path).look(), path / CONFIG
    if run.state in (MISSING, DAMAGED):
        run.read_record()  # which says what is wrong
    completed = run.state == "completed"
    try:
        config = read_yaml(file) if completed or file.is_file() else {}
        recorded = run.record.get(DIGESTS, {}).get(CONFIG, {}).get("sha256")
        whole = recorded is None or sha256(file) == recorded
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} must hold the run's config, got damaged content. Delete the folder {path} and run again."
        ) from error
    if not whole:
        raise ValueError(f"{file} must be as the run has left it, but has other content. Put it back, or run again.")
    if config.get("checkpoint") and MODEL in run.record:  # the configured one, which is not used
        config = {**config, MODEL: run.record[MODEL]}
    return replace(run, config=config, summary=read_summary(path) if completed else {})


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a run; empty if it cannot be read."""
    try:
        return read_yaml(path / CONFIG)
    except (OSError, ValueError):
        return {}


def _examined(path: Path) -> Run:
    """Read a run and check its files; an unusable run states the reason."""
    try:
        if str(read_json(path / RUN).get("state")) not in STATES:
            return _unusable(path, FOREIGN, f"its {RUN} is another program's: it names no state of a run.")
        run = read_run(path)
        if run.state == "completed":
            _check_files(run)
        return run
    except (OSError, ValueError) as error:
        return _unusable(path, UNREADABLE, " ".join(str(error).split()))


def _check_files(run: Run) -> None:
    if differences := run_files.digest_differences(run.folder, run.record):
        raise ValueError(
            f"the files in {run.folder} must be as the run has left them, but {'; '.join(differences)}. Run its "
            "command again, which measures them again, or put the files back."
        )
    for name in {SAMPLES.path, EFFECTS.path, SUMS.path, *run_files.digested_files(run.folder)}:
        if name.endswith(".parquet"):
            read_schema(run.folder / name)


def _once(runs: Iterable[Run]) -> Iterator[Run]:
    """Iterate over runs, marking duplicates as unusable."""
    first: dict[str, Run] = {}
    for run in runs:
        same = json.dumps([run.record.get(name) for name in SAME], sort_keys=True)
        if run.state != "completed" or run.record.get("settings") is None or first.setdefault(same, run) is run:
            yield run
        else:
            yield _unusable(run.folder, COPY, f"it repeats {first[same].folder}, and would count twice. Delete one.")


def _unusable(path: Path, state: str, problem: str) -> Run:
    return Run(path, state=state, problem=problem)


def labelled(folder: Path, runs: Sequence[Run]) -> list[Run]:
    """Label the runs under a folder by the factors in which they differ.

    The path distinguishes a run from the others where its factors do not.
    """
    factors = factors_of([run for run in runs if not run.problem])
    texts = iter([factor_text(row) for _, row in factors.iterrows()])
    labels = ["" if run.problem else next(texts) for run in runs]
    paths = [str(run.folder.relative_to(folder)) for run in runs]
    names = [folder.resolve().name if path == "." else path for path in paths]
    if len(runs) == 1 and runs[0].config.get("name"):
        names = [str(runs[0].config["name"])]
    return [
        replace(run, label=label if label and labels.count(label) == 1 else f"{label} ({name})" if label else name)
        for run, label, name in zip(runs, labels, names, strict=True)
    ]


def factors_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Factors of runs, by `factor_values` of their configurations."""
    return factor_values([run.config for run in runs], [run.overrides for run in runs])


def alike(runs: Sequence[Run], apart_from: Sequence[str]) -> dict[str, list[Run]]:
    """Group runs that differ only in the given settings; keys describe the other factors.

    The settings are such as "seed" or "intervention.rows"; "attack" stands for its keys, too.
    """
    factors = factors_of(runs)
    left = [key for key in factors if not any(key == name or key.startswith(f"{name}.") for name in apart_from)]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, values in zip(runs, factors[left].to_numpy(), strict=True):
        groups.setdefault(tuple(values), []).append(run)
    texts = [factor_text(pd.Series(values, left, dtype=object)) for values in groups]
    exact = [", ".join(f"{key} {value}" for key, value in zip(left, values, strict=True)) for values in groups]
    names = [text if texts.count(text) == 1 else long for text, long in zip(texts, exact, strict=True)]
    return dict(zip(names, groups.values(), strict=True))
