"""A command and the workers that do its jobs, and the folder by which they know of each other."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dovision.io import files
from dovision.io.text_files import write_text

LAUNCHES = ".launches"  # in the sweep's folder; several commands may be at work in it
STOP = "stop"  # holds the number of the signal that has ended the command
FAILED = "failed"  # holds the overrides of the job that has failed, under on_failure=stop
WORKER = "worker-"  # begins the name of a file that is there while a worker is at a job


def _here() -> str:
    return f"{platform.node()}-{os.getpid()}"


@dataclass(frozen=True)
class Launch:
    """One command that runs a sweep, as its own process and its workers on any machine know it.

    It has a folder beside the runs, by which a worker sees that it shares the sweep's folder with the command, and in
    which either leaves word for the other, whatever launcher stands between them.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(6))
    process: str = field(default_factory=_here)  # that launches

    @property
    def is_here(self) -> bool:
        """Whether this is the launching process, not a worker."""
        return self.process == _here()

    def folder(self, sweep: Path) -> Path:
        """The launch's folder inside that of the sweep."""
        return sweep / LAUNCHES / self.name

    def begin(self, sweep: Path) -> None:
        """Make the folder."""
        self.folder(sweep).mkdir(parents=True, exist_ok=True)

    def end(self, sweep: Path) -> None:
        """Remove the folder; but not that of a launch that was stopped, whose jobs may still wait in a queue."""
        if not (self.folder(sweep) / STOP).exists():
            shutil.rmtree(self.folder(sweep), ignore_errors=True)

    def check_shared(self, sweep: Path) -> None:
        """Refuse to write where the launching process would never look.

        Hydra makes a job's folder before the job, on any machine; the launch's folder only the launching process makes.

        Raises:
            ValueError: the sweep's folder is not that of the launching process.
        """
        if not self.folder(sweep).is_dir():
            raise ValueError(unshared(str(sweep)))

    def stop(self, sweep: Path, signum: int) -> None:
        """Ask the workers to end their jobs, and to begin no other."""
        write_text(self.folder(sweep) / STOP, str(signum))

    def stopped_by(self, sweep: Path) -> int | None:
        """The number of the signal for which the workers are asked to end; None if they are not."""
        return int(text) if (text := _read(self.folder(sweep) / STOP)) else None

    def report_failure(self, sweep: Path, overrides: str) -> None:
        """Let no other job begin, since one has failed."""
        write_text(self.folder(sweep) / FAILED, overrides)

    def failure(self, sweep: Path) -> str:
        """The overrides of a job that has failed, as reported; empty if none has."""
        return _read(self.folder(sweep) / FAILED)

    @contextmanager
    def at_work(self, sweep: Path) -> Iterator[None]:
        """Let the launching process see that a worker is at a job."""
        mark = self.folder(sweep) / f"{WORKER}{_here()}"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def is_at_work(self, sweep: Path) -> bool:
        """Whether a worker is at a job, or was killed at one on another machine."""
        marks = self.folder(sweep).glob(f"{WORKER}*")
        return any(_may_live(mark.name.removeprefix(WORKER)) for mark in marks)


def _may_live(process: str) -> bool:
    node, _, number = process.rpartition("-")
    if node != platform.node():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def unshared(folder: str) -> str:
    """The message that a folder is not the same one on this machine."""
    return (
        "the folder in which a sweep is started and that of its runs must be there on each machine of a cluster, got "
        f"{folder}, which {platform.node()} does not share. Start the sweep in a folder that all of them share."
    )


def _read(path: Path) -> str:
    try:
        return files.read_text(path)
    except FileNotFoundError:
        return ""


def chdir_to(folder: str) -> None:
    """Go to the folder in which the user stands, from which relative paths are meant.

    Raises:
        ValueError: it is not there, as on a machine of a cluster that does not share it.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise ValueError(unshared(folder)) from error


def quieten() -> None:
    """Keep what libraries say of their own plumbing, Lightning's advice and fontTools' glyphs, off the terminal.

    And what Pillow says of large images, which dovision.io.images refuses.
    """
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # errors name what it cannot decode
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(hydra|dovision\.cli|dovision\.sweeps)\.")
