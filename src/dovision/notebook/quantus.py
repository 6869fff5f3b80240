"""Explanations in an npz file under the argument names of Quantus, which then judges them by its own metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.geometry import paint
from dovision.io.atomic import replacing
from dovision.store.tables import boxes_of


def write_quantus(
    path: Path | str,
    image: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    maps: npt.NDArray[np.float32],
    masks: npt.NDArray[np.bool_] | None = None,
) -> Path:
    """Write images, classes, maps and masks as x_batch, y_batch, a_batch and s_batch.

    Args:
        path: of the file; .npz is added where it is missing.
        image: shape (N, C, H, W), in [0, 1], as the classifier takes them: its normalisation is inside.
        target: the class that each map explains, shape (N,).
        maps: shape (N, H, W), positive where the image speaks for the class; written with an axis of one channel.
        masks: of the objects that speak for the class, shape (N, H, W); written likewise. None: no s_batch.

    Returns:
        The path of the file.

    Raises:
        ValueError: there are not as many of each.

    Example:
        >>> import numpy, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> path = write_quantus(f"{folder}/a", numpy.zeros((2, 3, 8, 8)), numpy.array([0, 1]), numpy.ones((2, 8, 8)))
        >>> {name: array.shape for name, array in numpy.load(path).items()}
        {'x_batch': (2, 3, 8, 8), 'y_batch': (2,), 'a_batch': (2, 1, 8, 8)}
    """
    counts = {"image": len(image), "target": len(target), "maps": len(maps)}
    counts |= {} if masks is None else {"masks": len(masks)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"image, target, maps and masks must be as many, got {counts}.")
    arrays: dict[str, npt.NDArray[Any]] = {
        "x_batch": np.asarray(image, np.float32),
        "y_batch": np.asarray(target, np.int64),
        "a_batch": np.asarray(maps, np.float32)[:, None],
    }
    if masks is not None:
        arrays["s_batch"] = np.asarray(masks, bool)[:, None]
    written = Path(path) if str(path).endswith(".npz") else Path(f"{path}.npz")
    with replacing(written) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names of arrays are arguments
    return written


def box_masks(pairs: pd.DataFrame, boxes: pd.DataFrame, height: int, width: int) -> npt.NDArray[np.bool_] | None:
    """Pixels of the boxes that speak for the class of each map, shape (N, H, W); None where no box is known.

    Args:
        pairs: a row a map: sample, class.
        boxes: as `Images.boxes` has them.
        height, width: of the images, in pixels.
    """
    if boxes.empty:
        return None
    spoken = {key: boxes_of(own) for key, own in boxes.groupby(["sample", "label"])}
    keys = pairs[["sample", "class"]].itertuples(index=False, name=None)
    found = [spoken.get(key, []) for key in keys]
    return np.stack([paint(height, width, own, [1.0] * len(own), [None] * len(own)) > 0 for own in found])
