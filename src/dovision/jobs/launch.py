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
from threading import Event, Thread

from dovision.io import files
from dovision.io.text_files import write_text

LAUNCHES = ".launches"  # in the sweep's folder; several commands may be at work in it
FAILED = "failed"  # holds the overrides of the job that has failed, under on_failure=stop
_PERIOD = 0.5  # seconds between looks at the launching process


def _here() -> str:
    return f"{platform.node()}-{os.getpid()}"


@dataclass(frozen=True)
class Launch:
    """Launch of a sweep, shared by its process and its workers on any machine.

    It has a folder beside the runs, by which a worker sees that it shares the sweep's folder with the command, and in
    which it reports a failure, whatever launcher stands between them.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(6))
    process: str = field(default_factory=_here)  # that launches

    @property
    def is_here(self) -> bool:
        """Return whether this is the launching process."""
        return self.process == _here()

    def folder(self, sweep: Path) -> Path:
        """Folder of the launch inside the sweep's folder."""
        return sweep / LAUNCHES / self.name

    def begin(self, sweep: Path) -> None:
        """Create the folder."""
        self.folder(sweep).mkdir(parents=True, exist_ok=True)

    def end(self, sweep: Path) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder(sweep), ignore_errors=True)

    def check_shared(self, sweep: Path) -> None:
        """Raise if this machine would write where the launching process does not look.

        Hydra makes a job's folder before the job, on any machine; that of launches only a launching process makes, and
        it stays when the command is stopped, since jobs may still wait in a queue.

        Raises:
            ValueError: the sweep's folder is not that of the launching process.
        """
        if not (sweep / LAUNCHES).is_dir():
            raise ValueError(unshared(str(sweep)))

    def report_failure(self, sweep: Path, overrides: str) -> None:
        """Prevent further jobs from starting after a failure."""
        write_text(self.folder(sweep) / FAILED, overrides)

    def failure(self, sweep: Path) -> str:
        """Overrides of a job reported as failed; empty if none."""
        return _read(self.folder(sweep) / FAILED)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End this worker once the launching process has ended, if that is on this machine; finished rows stay."""
        node, _, number = self.process.rpartition("-")
        over = Event()

        def watch() -> None:
            while not over.wait(_PERIOD):
                if not _lives(int(number)):
                    os._exit(1)

        if node == platform.node():
            Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            over.set()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def unshared(folder: str) -> str:
    """Error message that a folder is not shared with this machine."""
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
    """Change to the user's working folder, which relative paths refer to.

    Raises:
        ValueError: it is not there, as on a machine of a cluster that does not share it.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise ValueError(unshared(folder)) from error


def quieten() -> None:
    """Suppress terminal output of libraries about their internals, Lightning's advice and fontTools' glyphs.

    And what Pillow says of large images, which dovision.io.images refuses.
    """
    for name in ("fontTools", "lightning.pytorch", "lightning_fabric", "pydicom", "pytorch_lightning"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL if name == "pydicom" else logging.ERROR)  # errors name what it cannot decode
        logger.setLevel = lambda level: None  # type: ignore[method-assign]  # which an import sets, once it is needed
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(hydra|dovision\.cli|dovision\.sweeps)\.")
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated")  # by a caller of any module
