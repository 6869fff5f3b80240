"""The directory of one run, and its state on disk: run.json tells whether the rest can be relied on."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from dovision import checks
from dovision.results import map_tables, pictures
from dovision.results.files import PARTIAL, make_folder, read_json, write_json, write_text
from dovision.results.parts import PARTS
from dovision.results.summary import SUMMARY
from dovision.results.tables import EFFECTS, SAMPLES

RUN = "run.json"
STATES = ("running", "completed", "failed", "skipped", "interrupted")
NOTHING: Mapping[str, Any] = MappingProxyType({})
PATIENCE = 1.0  # seconds that a start waits for the lock, which a reader of the state holds for an instant


class BeingWritten(FileExistsError):
    """Another process is at work in the run directory."""


class RunDirectory:
    """The directory of one run: start, then record facts, then complete, fail or interrupt.

    Every write replaces run.json in one step, so a run that is killed never looks complete. A lock is held from
    `start` to the end of the run or of its process, whichever comes first: "running" without it is "interrupted".

    Args:
        path: the directory; made by `start`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / ".run.lock")

    @property
    def state(self) -> str:
        """The state in run.json: running, completed, failed, skipped or interrupted; "missing" if there is none.

        Raises:
            ValueError: run.json is damaged or of something else; the error names it.
        """
        if not (self.path / RUN).exists():
            return "missing"
        state = checks.choice(f"state in {self.path / RUN}", str(self.facts().get("state")), STATES)
        return "interrupted" if state == "running" and not self._at_work() else state

    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_json(self.path / RUN)

    def start(
        self, config: Mapping[str, Any], overrides: Sequence[str], facts: Mapping[str, Any], afresh: bool = False
    ) -> None:
        """Begin: remove what a dead run has left but its finished parts, write config, overrides and "running".

        Args:
            afresh: remove the parts as well, and a completed run.

        Raises:
            FileExistsError: a completed run is there already, or another process is at work there.
            OSError: the directory cannot be written to.
        """
        if self.state == "completed" and not afresh:
            raise FileExistsError(
                f"{self.path} must not hold a completed run, got one. Its tables can be read as they are; "
                "to run again delete the folder or choose another (output_root=...)."
            )
        make_folder(self.path, setting="output_root")
        self._lock_or_refuse()
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._remove_remains(afresh)
            (self.path / ".hydra").mkdir(exist_ok=True)
            self._write_yaml("config.yaml", checks.plain("config", config))
            self._write_yaml("overrides.yaml", list(overrides))
            self._write({"state": "running", "overrides": list(overrides), **facts})
            on_failure.pop_all()

    def record(self, facts: Mapping[str, Any]) -> None:
        """Add facts to run.json, of plain types; a known name takes the new value."""
        self._write({**self.facts(), **facts})

    def complete(self, facts: Mapping[str, Any]) -> None:
        """End well; call it when all tables have their final names."""
        self._end({**facts, "state": "completed"})
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def fail(self, exception: BaseException, facts: Mapping[str, Any] = NOTHING) -> None:
        """End with an error, kept with its traceback."""
        trace = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
        error = {"type": type(exception).__name__, "message": str(exception), "traceback": trace}
        self._end({**facts, "state": "failed", "exception": error})

    def interrupt(self, reason: str, facts: Mapping[str, Any] = NOTHING) -> None:
        """End for a reason from outside; what is finished so far is used by the next start."""
        self._end({**facts, "state": "interrupted", "reason": reason})

    def skip(self, overrides: Sequence[str], reason: str) -> None:
        """Record that a run was not started, unless there is one already."""
        if self.state == "missing":
            make_folder(self.path, setting="output_root")
            self._write({"state": "skipped", "overrides": list(overrides), "reason": reason})

    def close(self) -> None:
        """Let go of the lock; a run that has not come to its end is interrupted by that."""
        self._lock.release()

    def _end(self, facts: Mapping[str, Any]) -> None:
        try:
            self.record(facts)
        finally:
            self.close()

    def _at_work(self) -> bool:
        """Whether a process holds the lock; taken to be so where that cannot be found out."""
        if self._lock.is_locked:
            return True
        if not Path(self._lock.lock_file).exists():
            return False
        probe = FileLock(self._lock.lock_file)
        try:
            probe.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        probe.release()
        return False

    def _lock_or_refuse(self) -> None:
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise BeingWritten(
                f"{self.path} must be free, got one that another process is writing. Wait for it, or choose another "
                "folder (output_root=...)."
            ) from None

    def _write(self, facts: Mapping[str, Any]) -> None:
        write_json(self.path / RUN, {str(key): checks.plain(f"fact {key}", value) for key, value in facts.items()})

    def _write_yaml(self, name: str, content: object) -> None:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(self.path / ".hydra" / name, text)

    def _remove_remains(self, afresh: bool) -> None:
        for name in (RUN, SAMPLES, EFFECTS, map_tables.MAPS, map_tables.BOXES, SUMMARY):
            (self.path / name).unlink(missing_ok=True)
        for partial in self.path.glob(f"*{PARTIAL}"):
            partial.unlink()
        if afresh:
            shutil.rmtree(self.path / PARTS, ignore_errors=True)
        if not (self.path / PARTS).exists():  # pictures are finished with the parts
            shutil.rmtree(self.path / pictures.MAPS, ignore_errors=True)
