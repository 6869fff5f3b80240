"""All that lies under a folder, with a word on what cannot be used: half-written, of another version, not ours."""

from __future__ import annotations

from pathlib import Path

from dovision.results.detection_summary import DETECTION
from dovision.results.detection_tables import SCORES
from dovision.results.differences import natural
from dovision.results.files import read_json
from dovision.results.map_tables import BOXES, MAPS
from dovision.results.reading import Run, labelled, read_run, run_folders
from dovision.results.run_directory import RUN
from dovision.results.schemas import STATES
from dovision.results.tables import EFFECTS, SAMPLES, row_groups

UNREADABLE, FOREIGN = "unreadable", "foreign"


def survey(folder: Path) -> list[Run]:
    """The runs at or under a folder in the order of their labels, but for those that cannot be used.

    These have the state "unreadable" (damaged, or of another version) or "foreign" (another program's run.json), and
    their `failure` says why. Each table of a completed run is read once, checksums included, before it is trusted.

    Raises:
        FileNotFoundError: there is no such folder, or no run.json in it.
    """
    runs = labelled(folder, [_examined(path) for path in run_folders(folder)])
    return sorted(runs, key=lambda run: natural(run.label))


def _examined(path: Path) -> Run:
    try:
        if str(read_json(path / RUN).get("state")) not in STATES:
            return _unusable(path, FOREIGN, f"its {RUN} is another program's: it names no state of a run.")
        run = read_run(path)
        if run.state == "completed":
            _read_tables(path)
        return run
    except (OSError, ValueError) as error:
        return _unusable(path, UNREADABLE, " ".join(str(error).split()))


def _unusable(path: Path, state: str, problem: str) -> Run:
    return Run(path, "", state, {}, {}, {}, problem)


def _read_tables(folder: Path) -> None:
    more = [name for name in (MAPS, BOXES, SCORES, DETECTION) if (folder / name).is_file()]
    for name in (SAMPLES, EFFECTS, *more):
        for _ in row_groups(folder / name):
            pass
