"""The directory of one run, and its state on disk: run.json tells whether the rest can be relied on."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from dovision import checks
from dovision.results import map_tables, pictures
from dovision.results.files import PARTIAL, make_folder, read_json, write_json, write_text
from dovision.results.summary import SUMMARY
from dovision.results.tables import EFFECTS, SAMPLES

RUN = "run.json"
STATES = ("running", "completed", "failed", "skipped")


class RunDirectory:
    """The directory of one run: start, then record facts, then complete or fail.

    Every write replaces run.json in one step, so a run that is killed stays "running" and never looks complete.
    A lock is held from `start` to the end of the run or of its process, whichever comes first.

    Args:
        path: the directory; made by `start`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / ".run.lock")

    @property
    def state(self) -> str:
        """The state in run.json: running, completed, failed or skipped; "missing" if there is none.

        Raises:
            ValueError: run.json is damaged or of something else; the error names it.
        """
        if not (self.path / RUN).exists():
            return "missing"
        return checks.choice(f"state in {self.path / RUN}", str(self.facts().get("state")), STATES)

    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_json(self.path / RUN)

    def start(self, config: Mapping[str, Any], overrides: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Begin: remove what a dead run has left, write the config and the overrides, and the state "running".

        Raises:
            FileExistsError: a completed run is there already, or another process is at work there.
            OSError: the directory cannot be written to.
        """
        if self.state == "completed":
            raise FileExistsError(
                f"{self.path} must not hold a completed run, got one. Its tables can be read as they are; "
                "to run again delete the folder or choose another (output_root=...)."
            )
        make_folder(self.path, setting="output_root")
        self._lock_or_refuse()
        self._remove_remains()
        (self.path / ".hydra").mkdir(exist_ok=True)
        self._write_yaml("config.yaml", checks.plain("config", config))
        self._write_yaml("overrides.yaml", list(overrides))
        self._write({"state": "running", "overrides": list(overrides), **facts})

    def record(self, facts: Mapping[str, Any]) -> None:
        """Add facts to run.json, of plain types; a known name takes the new value."""
        self._write({**self.facts(), **facts})

    def complete(self, facts: Mapping[str, Any]) -> None:
        """End well; call it when all tables have their final names."""
        self.record({**facts, "state": "completed"})
        self._lock.release()

    def fail(self, exception: BaseException) -> None:
        """End with an error, kept with its traceback."""
        trace = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
        error = {"type": type(exception).__name__, "message": str(exception), "traceback": trace}
        self.record({"state": "failed", "exception": error})
        self._lock.release()

    def _lock_or_refuse(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FileExistsError(
                f"{self.path} must be free, got one that another process is writing. Wait for it, or choose another "
                "folder (output_root=...)."
            ) from None

    def _write(self, facts: Mapping[str, Any]) -> None:
        write_json(self.path / RUN, {str(key): checks.plain(f"fact {key}", value) for key, value in facts.items()})

    def _write_yaml(self, name: str, content: object) -> None:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(self.path / ".hydra" / name, text)

    def _remove_remains(self) -> None:
        for name in (RUN, SAMPLES, EFFECTS, map_tables.MAPS, map_tables.BOXES, SUMMARY):
            (self.path / name).unlink(missing_ok=True)
        for partial in self.path.glob(f"*{PARTIAL}"):
            partial.unlink()
        shutil.rmtree(self.path / pictures.MAPS, ignore_errors=True)
