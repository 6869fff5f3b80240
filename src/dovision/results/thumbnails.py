"""Pictures of a few samples in the run directory."""

from __future__ import annotations

import bisect
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import Tensor

from dovision.functional.sample_order import strata
from dovision.io import images
from dovision.io.atomic import replacing
from dovision.results.tables import CLEAN, SAMPLES, read_table

EFFECT_MAPS_FOLDER = "maps"  # the folder inside a run directory
FILE_NAME_CHARACTERS = str.maketrans("=/", "--")  # of a condition's name what a file's name should not hold

Picture = npt.NDArray[np.uint8]  # (H, W) or (H, W, 3)


def thumbnail_path(folder: Path, sample: int, condition: str) -> Path:
    """Path of a sample's picture in a condition, such as maps/3_eps-0.1.png and maps/3_eps-8-255.png."""
    return folder / EFFECT_MAPS_FOLDER / f"{sample}_{condition.translate(FILE_NAME_CHARACTERS)}.png"


class PictureChoice:
    """Choice of samples to save pictures of: per class, correct and wrong ones in turn, the first of each.

    Beside these the first one that the attack has turned.

    Samples are offered one by one, in their order; which are chosen in the end depends on that order alone. A part of
    the samples that is offered by itself, as a second device has it, leaves none out that would be chosen of all.

    Args:
        most: samples that are saved.
        stratum: the class of each sample; 0 where none is given.
    """

    def __init__(self, most: int, stratum: Mapping[int, int]) -> None:
        self.most = most
        self.stratum = stratum
        self._classes = 1 + max(stratum.values(), default=0)
        self._seen: Counter[int] = Counter()
        self._chosen: list[tuple[int, int, int]] = []  # number in its cell, cell, sample
        self._turned: list[int] = []  # one, or none yet

    @property
    def samples(self) -> list[int]:
        """Samples chosen so far: first one per class, alternately correct and wrong, then the others in turn."""
        return list(dict.fromkeys([*(sample for *_, sample in self._chosen), *self._turned]))

    def offer(self, sample: int, correct: bool, turned: bool = False) -> set[int]:
        """Offer a sample, with whether the attack has turned it; return the one evicted, if any."""
        if turned and not self._turned and self.most:
            self._turned = [sample]
        stratum = self.stratum.get(sample, 0)
        cell = stratum + self._classes * ((stratum + (not correct)) % 2)
        bisect.insort(self._chosen, (self._seen[cell], cell, sample))
        self._seen[cell] += 1
        return {self._chosen.pop()[2]} - {*self._turned} if len(self._chosen) > self.most else set()

    def offer_rows(self, tables: Iterable[pa.Table]) -> PictureChoice:
        """Offer the images of samples.parquet or of finished chunks; return self."""
        for table in tables:
            clean = table.filter(pc.equal(table["condition"].cast(pa.string()), CLEAN))
            rows = zip(table["sample"].to_pylist(), table["success"].to_pylist(), strict=True)
            turned = {sample: success is True for sample, success in rows}  # in the last condition
            for sample, correct in zip(clean["sample"].to_pylist(), clean["correct"].to_pylist(), strict=True):
                self.offer(sample, correct is not False, turned[sample])  # null where there is no label
        return self

    def save(
        self,
        folder: Path,
        samples: Sequence[int],
        correct: Sequence[bool],
        images: Mapping[str, Tensor],
        turned: Sequence[bool],
    ) -> None:
        """Offer a batch's samples, save the chosen ones, and remove pictures of evicted samples.

        Args:
            folder: the run directory.
            samples, correct: B of them, and whether each was predicted rightly when clean.
            images: by condition, shape (B, C, H, W).
            turned: whether the attack of the last condition succeeded.
        """
        left = set().union(*map(self.offer, samples, correct, turned))
        chosen = set(self.samples)
        rows = [row for row, sample in enumerate(samples) if sample in chosen]
        index = torch.tensor(rows, dtype=torch.int64, device=next(iter(images.values())).device)
        copied = torch.stack([batch[index] for batch in images.values()]).cpu() if rows else ()
        for condition, batch in zip(images, copied, strict=False):
            for row, image in zip(rows, batch, strict=True):
                save_image(thumbnail_path(folder, samples[row], condition), image)
        remove_images(folder, left - set(samples))

    def keep_chosen_of_all(self, folder: Path, tables: Iterable[pa.Table]) -> None:
        """Remove pictures that a device chose among its own images, but that are not chosen among all."""
        of_all = PictureChoice(self.most, self.stratum).offer_rows(tables)
        remove_images(folder, pictured_samples(folder) - set(of_all.samples))


def samples_in_conditions(folder: Path, conditions: Sequence[str]) -> list[int]:
    """Samples with saved pictures in all conditions, in the order of a PictureChoice."""
    pictured = {
        sample
        for sample in pictured_samples(folder)
        if all(thumbnail_path(folder, sample, condition).is_file() for condition in conditions)
    }
    if not pictured:
        return []
    rows = read_table(folder / SAMPLES, ["sample", "condition", "label", "correct", "success"])
    clean = rows.filter(pc.equal(rows["condition"].cast(pa.string()), CLEAN))
    stratum = strata(np.array(clean["label"].to_pylist())).tolist()
    choice = PictureChoice(len(pictured), dict(zip(clean["sample"].to_pylist(), stratum, strict=True)))
    return choice.offer_rows([clean.filter(pc.is_in(clean["sample"], pa.array(pictured)))]).samples


def copy_pictures(source: Path, folder: Path) -> None:
    """Copy the pictures of another run directory."""
    for path in sorted((source / EFFECT_MAPS_FOLDER).glob("*.png")):
        copy = folder / EFFECT_MAPS_FOLDER / path.name
        copy.parent.mkdir(exist_ok=True)
        with replacing(copy) as partial:
            shutil.copyfile(path, partial)


def pictured_samples(folder: Path) -> set[int]:
    """Samples with a picture in any condition."""
    return {int(path.name.split("_")[0]) for path in (folder / EFFECT_MAPS_FOLDER).glob("*_*.png")}


def remove_images(folder: Path, samples: Iterable[int]) -> None:
    """Remove the pictures of samples in all conditions."""
    for sample in samples:
        for path in (folder / EFFECT_MAPS_FOLDER).glob(f"{sample}_*.png"):
            path.unlink(missing_ok=True)


def save_image(path: Path, image: Tensor) -> None:
    """Save an image in [0, 1], shape (1, H, W) or (3, H, W), as 8-bit PNG; creates the folder.

    Raises:
        ValueError: the image has another number of channels.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a picture must have shape (1, H, W) or (3, H, W), got {tuple(image.shape)}.")
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).squeeze(-1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def load_thumbnail(path: Path) -> Picture:
    """Load a picture saved by `save_image`."""
    return np.asarray(images.open_image(path))
