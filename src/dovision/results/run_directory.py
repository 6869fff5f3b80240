"""The directory of one run, and its state on disk: run.json shows whether the rest can be relied on."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dovision import checks
from dovision.config.sources import without_values
from dovision.io.atomic import remove_partial
from dovision.io.locking import Lock, is_locked
from dovision.io.text_files import make_folder, read_json, write_json, write_text, yaml_text
from dovision.results import run_files
from dovision.results.resumable_writer import CHUNKS_FOLDER
from dovision.results.run_files import LOCK, RUN
from dovision.results.schemas import DIGESTS, STATES, verified, with_digest

DONE = "already completed, nothing to do"
OUTDATED = "outdated"  # the state of a completed run that does not stand for the one that is asked for
MISSING, DAMAGED = "missing", "damaged"  # where there is no run.json, and where it names no state of a run
_NOTHING: Mapping[str, Any] = MappingProxyType({})
LOCK_PATIENCE = 1.0  # seconds to wait for the lock, which is held for an instant by who looks whether it is


class BeingWritten(FileExistsError):
    """Another process is writing the run directory."""


class RunDirectory:
    """Directory of one run: start it, record entries, then complete or end it otherwise.

    Every write replaces run.json in one step, so a run that is killed never looks complete. A lock is held from `hold`
    or `start` to the end of the run or of its process, whichever comes first: "running" without it is "interrupted".
    Under the lock nobody else changes the state, so what is decided from it there stays right.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.status = ""  # the state, or OUTDATED, when a job was last asked whether it is due
        self.skip = ""  # why it is not; empty if it is
        self.unlike = ""  # in what a completed run differs from the one that the job asks for, a line each
        self._lock = Lock(self.path / LOCK)
        self._config: Mapping[str, Any] = _NOTHING  # of the run that was started
        self._held: dict[str, Any] | None = None  # run.json, which nobody else changes while the lock is held

    @property
    def state(self) -> str:
        """State in run.json; "missing" if there is none, "damaged" if it is invalid."""
        return str(self.look()["state"])

    def look(self) -> dict[str, Any]:
        """Content of run.json with the state of now, or that state alone: "missing", or "damaged" if it is invalid."""
        if self._lock.held:
            self._held = self._held or self._recorded()
            return self._held
        record = self._recorded()
        if record["state"] != "running" or is_locked(self.path / LOCK):
            return record
        record = self._recorded()  # the run may have ended between the two looks
        return {**record, "state": "interrupted"} if record["state"] == "running" else record

    def read_record(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, edited, or of something else; the error names it.
        """
        path = self.path / RUN
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
        run_files.require_no_links(self.path)
        if self._lock.held:
            return
        make_folder(self.path, setting="output_root")
        if not self._lock.acquire(LOCK_PATIENCE):
            raise BeingWritten(
                f"{self.path} must be free, got one that another process is writing. Wait for it, or choose another "
                "folder (output_root=...)."
            )
        self._held = None

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
                    f"{self.path} must not hold a completed run, got one. Its tables can be read as they are; "
                    "to run again delete the folder or choose another (output_root=...)."
                )
            self._config = config
            run_files.remove_remains(self.path, afresh)
            remove_partial(self.path)
            (self.path / ".hydra").mkdir(exist_ok=True)
            for name, content in (("config", checks.plain_value("config", config)), ("overrides", list(overrides))):
                write_text(self.path / ".hydra" / f"{name}.yaml", yaml_text(content))
            self._write({"state": "running", "overrides": list(overrides), **entries})
            on_failure.pop_all()

    def record(self, entries: Mapping[str, Any]) -> None:
        """Add entries of plain types to run.json; known names are replaced."""
        self._write({**((self._lock.held and self._held) or self.read_record()), **entries})

    def complete(self, entries: Mapping[str, Any]) -> None:
        """Complete the run, once all tables have their final names; after an error it can still be ended otherwise."""
        self.record({**entries, "state": "completed", DIGESTS: run_files.digests(self.path)})
        shutil.rmtree(self.path / CHUNKS_FOLDER, ignore_errors=True)
        self.close()

    def leave_partial(self, reason: str, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run without some images; the next start uses the finished ones."""
        self._end({**entries, "state": "partial", "reason": reason})

    def fail(self, exception: BaseException, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run with an error, recorded with its traceback, without environment values."""
        trace = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
        message, trace = (without_values(text, self._config) for text in (str(exception), trace))
        error = {"type": type(exception).__name__, "message": message, "traceback": trace}
        self._end({**entries, "state": "failed", "exception": error})

    def interrupt(self, reason: str, entries: Mapping[str, Any] = _NOTHING) -> None:
        """End the run from outside unless it has ended; the next start uses what is finished."""
        if self._recorded()["state"] == "running":
            self._end({**entries, "state": "interrupted", "reason": reason})
        self.close()

    def remove_chunks(self) -> None:
        """Remove finished chunks from a completed run that was killed before it had removed them."""
        if (self.path / CHUNKS_FOLDER).exists() and self._lock.acquire(LOCK_PATIENCE):
            if self.state == "completed":
                shutil.rmtree(self.path / CHUNKS_FOLDER, ignore_errors=True)
            self.close()

    def close(self) -> None:
        """Release the lock; a run that has not ended becomes interrupted."""
        self._lock.release()

    def _end(self, entries: Mapping[str, Any]) -> None:
        with closing(self):
            self.record(entries)

    def _recorded(self) -> dict[str, Any]:
        try:
            return self.read_record()
        except FileNotFoundError:
            return {"state": MISSING}
        except ValueError:
            return {"state": DAMAGED}

    def _write(self, entries: Mapping[str, Any]) -> None:
        record = {str(key): checks.plain_value(f"fact {key}", value) for key, value in entries.items()}
        write_json(self.path / RUN, with_digest(record))
        self._held = record
