"""Attacked images, saved with the run as they come."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dovision.attacks.replay import KEYS, NORM_FILE, adversarial_path
from dovision.interfaces import Attack
from dovision.io import paths
from dovision.io.atomic import PARTIAL, publish
from dovision.io.text_files import make_folder, write_text
from dovision.types import ATTACKED_FOLDER, Batch


class Keeper(AbstractContextManager["Keeper"]):
    """Context that stores one attack's images for replay by `attacks.replay`.

    At its end the folder is put into its place; or removed if images are missing, as those of an attack that failed.
    """

    def __init__(self, run: Path, name: str, attack: Attack, images: int) -> None:
        self.folder = run / ATTACKED_FOLDER / paths.file_name("the name of an attack", name)
        self.attack = attack
        self.images = images
        self._partial = self.folder.with_name(name + PARTIAL)
        self._keys = np.zeros((images, 2), np.int64)
        self._arrays: dict[float, npt.NDArray[np.float32]] = {}
        self._written: Counter[float] = Counter()
        shutil.rmtree(self._partial, ignore_errors=True)  # a killed run's
        make_folder(self._partial, setting="output_root")

    def add(self, eps: float, attacked: Batch) -> None:
        """Store images at one epsilon; each epsilon's images come in the same order."""
        image = attacked.image.detach().float().cpu().numpy()
        if eps not in self._arrays:
            path, shape = adversarial_path(self._partial, eps), (self.images, *image.shape[1:])
            self._arrays[eps] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        rows = slice(self._written[eps], self._written[eps] + len(image))
        self._arrays[eps][rows] = image
        self._keys[rows] = np.stack([attacked.sample.cpu().numpy(), attacked.group.cpu().numpy()], 1)
        self._written[eps] = rows.stop

    def __exit__(self, *error: object) -> None:
        if any(self._written[eps] < self.images for eps in self.attack.eps):
            shutil.rmtree(self._partial)
            return
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]
        np.save(self._partial / KEYS, self._keys)
        write_text(self._partial / NORM_FILE, json.dumps({"norm": self.attack.norm, "eps": list(self.attack.eps)}))
        shutil.rmtree(self.folder, ignore_errors=True)
        publish(self._partial, self.folder)
