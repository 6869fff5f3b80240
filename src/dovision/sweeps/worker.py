"""What a process must share with the one that launches it, whatever launcher has started it and wherever it runs."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from pathlib import Path

LAUNCHED = ".launched"  # in the sweep's folder, for workers to see that it is the same one


def stand_in(folder: str) -> None:
    """Go to the folder in which the user stands, from which relative paths are meant.

    Raises:
        ValueError: it is not there, as on a machine of a cluster that does not share it.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise ValueError(_unshared(folder)) from error


def check_shared(sweep: Path) -> None:
    """Refuse to write where the process that launches would never look.

    Hydra makes a job's folder before the job, on any machine; what the launching process left in it, only it can.

    Raises:
        ValueError: the sweep's folder is not that of the launching process.
    """
    if not (sweep / LAUNCHED).exists():
        raise ValueError(_unshared(str(sweep)))


def _unshared(folder: str) -> str:
    return (
        "the folder in which a sweep is started and that of its runs must be there on each machine of a cluster, got "
        f"{folder}, which {platform.node()} does not share. Start the sweep in a folder that all of them share."
    )


def quieten() -> None:
    """Keep what libraries say of their own plumbing, Lightning's advice and fontTools' glyphs, off the terminal.

    And what Pillow says of large images, which dovision.inputs.images refuses.
    """
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    warnings.filterwarnings("ignore", message=r"\s*'hydra/\S+' is validated against ConfigStore schema")
