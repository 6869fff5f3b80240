"""State that a process shares with the one that launches it, whatever launcher has started it and wherever it runs."""

from __future__ import annotations

import logging
import os
import warnings
from threading import RLock

from tqdm import tqdm

from dovision.sweeps.launch import unshared


def stand_in(folder: str) -> None:
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
    tqdm.set_lock(RLock())  # in place of a semaphore of the system, which a worker that is killed leaves behind
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    warnings.filterwarnings("ignore", message=r"\s*'hydra/\S+' is validated against ConfigStore schema")
