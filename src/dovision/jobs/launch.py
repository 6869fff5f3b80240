"""A command and the workers that do its jobs, which end with it."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

_PERIOD = 0.5  # seconds between looks at the launching process


def this_process() -> str:
    """Name of this process among those of all machines."""
    return f"{platform.node()}-{os.getpid()}"


@contextmanager
def watched(process: str) -> Iterator[None]:
    """End this worker once the launching process has ended, if that is on this machine; finished rows stay."""
    node, _, number = process.rpartition("-")
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


def chdir_to(folder: str) -> None:
    """Change to the user's working folder, which relative paths refer to.

    Raises:
        ValueError: it is not there, as on a machine of a cluster that does not share it.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise ValueError(
            f"the folder in which a sweep is started must be there on each machine of a cluster, got {folder}, which "
            f"{platform.node()} does not share. Start the sweep in a folder that all of them share."
        ) from error


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
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(hydra|dovision\.jobs)\.")
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated")  # by a caller of any module
