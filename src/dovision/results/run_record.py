"""The runs found under a folder: a single run, or all jobs of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dovision import checks
from dovision.io.files import sha256
from dovision.io.text_files import read_json, read_yaml
from dovision.results import run_files
from dovision.results.effect_sums import SUMS
from dovision.results.factors import factor_text, factor_values, natural
from dovision.results.run_directory import DAMAGED, MISSING, RunDirectory
from dovision.results.run_files import RUN
from dovision.results.schemas import DIGESTS, STATES, read_summary
from dovision.results.tables import EFFECTS, SAMPLES, read_schema

MODEL = "model"  # of the facts: the component of the classifier that was measured, as its checkpoint has it
CONFIG = ".hydra/config.yaml"
UNREADABLE, FOREIGN, COPY = "unreadable", "foreign", "copy"  # states of what cannot be used; see `survey`
SAME = ("settings", "dataset_fingerprint", "checkpoints")  # of two runs that answer one question


@dataclass(frozen=True)
class Run:
    """Run on disk; its tables are read on demand.

    `label` distinguishes it from the other runs of its sweep.
    """

    folder: Path
    label: str
    state: str
    record: Mapping[str, Any]  # run.json
    config: Mapping[str, Any]  # .hydra/config.yaml, with a checkpoint's own model; empty where there is none
    summary: Mapping[str, Any]  # summary.json; empty unless the run is completed
    problem: str = ""  # why the run cannot be read; see `survey`

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
    directory, file = RunDirectory(path), path / CONFIG
    if (record := directory.look())["state"] in (MISSING, DAMAGED):
        record = directory.read_record()  # which says what is wrong
    state = record["state"]
    completed = state == "completed"
    try:
        config = read_yaml(file) if completed or file.is_file() else {}
        recorded = record.get(DIGESTS, {}).get(CONFIG, {}).get("sha256")
        whole = recorded is None or sha256(file) == recorded
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} must hold the run's config, got damaged content. Delete the folder {path} and run again."
        ) from error
    if not whole:
        raise ValueError(f"{file} must be as the run has left it, but has other content. Put it back, or run again.")
    if config.get("checkpoint") and MODEL in record:  # the configured one, which is not used
        config = {**config, MODEL: record[MODEL]}
    return Run(path, "", state, record, config, read_summary(path) if completed else {})


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
    return Run(path, "", state, {}, {}, {}, problem)


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
