"""Discovery of runs under a folder; those that cannot be used are listed with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from dovision.io.text_files import read_json
from dovision.store import run_files
from dovision.store.config_diff import natural
from dovision.store.run_files import RUN
from dovision.store.run_record import Run, labelled, read_run, run_folders
from dovision.store.schemas import STATES
from dovision.store.tables import EFFECTS, SAMPLES, check_format

UNREADABLE, FOREIGN, COPY = "unreadable", "foreign", "copy"
SAME = ("settings", "dataset_fingerprint", "checkpoints")  # of two runs that answer one question


def survey(folder: Path) -> list[Run]:
    """The runs at or under a folder in the order of their labels, but for those that cannot be used.

    These have the state "unreadable" (damaged, or of another version), "foreign" (another program's run.json) or
    "copy" (a second run of the same settings, data and weights, which would count twice), and their `failure` says
    why. Each file of a completed run is held against its recorded digest before it is trusted.

    Raises:
        FileNotFoundError: there is no such folder, or no run.json in it.
    """
    runs = labelled(folder, list(_once([_examined(path) for path in run_folders(folder)])))
    return sorted(runs, key=lambda run: natural(run.label))


def _examined(path: Path) -> Run:
    try:
        if str(read_json(path / RUN).get("state")) not in STATES:
            return _unusable(path, FOREIGN, f"its {RUN} is another program's: it names no state of a run.")
        run = read_run(path)
        if run.state == "completed":
            _check_files(run)
        return run
    except (OSError, ValueError) as error:
        return _unusable(path, UNREADABLE, " ".join(str(error).split()))


def _once(runs: Iterable[Run]) -> Iterator[Run]:
    """The runs, those that repeat another one marked."""
    first: dict[str, Run] = {}
    for run in runs:
        same = json.dumps([run.facts.get(name) for name in SAME], sort_keys=True)
        if run.state != "completed" or run.facts.get("settings") is None or first.setdefault(same, run) is run:
            yield run
        else:
            yield _unusable(run.folder, COPY, f"it repeats {first[same].folder}, and would count twice. Delete one.")


def _unusable(path: Path, state: str, problem: str) -> Run:
    return Run(path, "", state, {}, {}, {}, problem)


def _check_files(run: Run) -> None:
    found = run_files.digest_differences(run.folder, run.facts)
    if found:
        raise ValueError(
            f"the files in {run.folder} must be as the run has left them, but {'; '.join(found)}. Run its command "
            "again, which measures them again, or put the files back."
        )
    tables = [name for name in run_files.digested_files(run.folder) if name.endswith(".parquet")]
    for name in dict.fromkeys([SAMPLES, EFFECTS, *tables]):
        check_format(run.folder / name)
