"""Replay of adversarial images that an earlier run has stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.norms import NORMS, in_budget, size
from dovision.interfaces import Attack, Classifier
from dovision.io import arrays, paths
from dovision.io.text_files import read_json
from dovision.types import ATTACKED_FOLDER, Batch, Epsilons

# in `ATTACKED_FOLDER` of the run directory, a folder an attack, there are
NORM_FILE = "facts.json"  # norm and epsilons of the attack, and
KEYS = "keys.npy"  # sample and group of each image, (N, 2) int64;
MAIN = "attack"  # name of the attack under which effects are measured; those of detection have their own


class Replay(Attack):
    """Replay of the adversarial images that an earlier run stored (evaluation.store_adversarial=true).

    With the classifier that they were made for that run's conditions come again, without its cost; with another one
    they show whether the attack carries over.

    Args:
        run: the run directory.
        attack: its name there: "attack", or the name of an attack of detection.
        eps: some of its epsilons, in pixel units; None is all that there are.

    Raises:
        FileNotFoundError: the run has stored no such images.
        ValueError: the attack had no such epsilon; or, at the first image, they are of other images.

    Example:
        >>> import tempfile
        >>> classifier, digits = dv.example()
        >>> folder = tempfile.mkdtemp()
        >>> stored = dv.attack(classifier, digits, dv.FGSM(eps="8/255"), folder=folder)
        >>> dv.Replay(folder)(digits, classifier).equal(stored.images())
        True
    """

    norms = NORMS

    def __init__(self, run: str, attack: str = MAIN, eps: Epsilons | None = None) -> None:
        for name, value in (("run", run), ("attack", attack)):
            checks.instance(name, value, str, "text, a run directory and the name of its attack")
        self.folder = Path(run) / ATTACKED_FOLDER / paths.file_name("attack", attack)
        stored = _read_stored(self.folder)
        super().__init__(stored["eps"] if eps is None else eps, stored["norm"])
        missing = [wanted for wanted in self.eps if wanted not in stored["eps"]]
        if missing:
            stored_eps = ", ".join(f"{eps:g}" for eps in stored["eps"])
            raise ValueError(f"eps must be one that {self.folder} has, which are {stored_eps}, got {missing[0]:g}.")
        keys = arrays.npy_memmap(self.folder / KEYS, np.int64, (None, 2))
        self._rows = {(int(sample), int(group)): row for row, (sample, group) in enumerate(keys)}

    @property
    def samples(self) -> list[int]:
        """Samples with a stored image, ascending."""
        return sorted({sample for sample, _ in self._rows})

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.images(batch, eps)

    def images(self, batch: Batch, eps: float) -> Tensor:
        """Stored images of a batch, shape (B, C, H, W).

        Raises:
            ValueError: some image is not stored, or is not of these.
        """
        rows = self.rows(batch.sample, batch.group)
        path = adversarial_path(self.folder, eps)  # read where it is looked at only
        images = arrays.npy_memmap(path, np.float32, (len(self._rows), None, None, None))
        if images.shape[1:] != batch.image.shape[1:]:
            raise ValueError(self._others(f"of shape {list(images.shape[1:])} for {list(batch.image.shape[1:])}"))
        attacked = torch.from_numpy(images[np.array(rows)]).to(batch.image)
        far = ~in_budget(size(attacked - batch.image, self.norm), eps)
        if far.any():
            raise ValueError(self._others(f"some further than {eps:g} from sample {int(batch.sample[far][0])}"))
        return attacked

    def rows(self, sample: Tensor, group: Tensor) -> list[int]:
        """Rows of the stored images of these samples and groups, each of shape (B,).

        Raises:
            ValueError: some image is not stored.
        """
        rows = []
        for key in zip(sample.tolist(), group.tolist(), strict=True):
            if key not in self._rows:
                raise ValueError(
                    f"{self.folder} must hold each image that is attacked, got none of sample {key[0]}. Keep the "
                    "images of a run over at least as many."
                )
            rows.append(self._rows[key])
        return rows

    def _others(self, got: str) -> str:
        return f"{self.folder} must hold images of this dataset, split and size, got {got}. Choose the run's dataset."


def adversarial_path(folder: Path, eps: float) -> Path:
    """Path of the images of one epsilon: an array (N, C, H, W) float32, in the order of the keys."""
    return folder / f"eps={eps:g}.npy"


def _read_stored(folder: Path) -> dict[str, Any]:
    try:
        stored = read_json(folder / NORM_FILE)
    except FileNotFoundError as error:
        beside = sorted(path.parent.name for path in folder.parent.glob(f"*/{NORM_FILE}"))
        there = f"; it has {', '.join(beside)}" if beside else ""
        raise FileNotFoundError(
            f"{folder} must hold attacked images, got none{there}. Keep them: evaluation.store_adversarial=true."
        ) from error
    if not isinstance(stored.get("norm"), str) or not isinstance(stored.get("eps"), list):
        raise ValueError(
            f"{folder / NORM_FILE} must say the norm and the epsilons, got something else. Attack and store them again."
        )
    return stored
