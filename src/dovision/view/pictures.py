"""Images and maps as pictures that a page shows, and files that it saves in one archive."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.report.image_overlay import value_colours
from dovision.report.inline_assets import png_bytes
from dovision.types import Mask
from dovision.view.image_effects import ClassRow


def link(values: npt.NDArray[np.uint8]) -> str:
    """Encode bytes as a PNG data: URL."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(values, 1)).decode()}"


def map_link(values: npt.NDArray[np.float64], limit: float) -> str:
    """Colour a map, evidence of shape (H, W), as figures do, see `value_colours`; as a data: URL."""
    return link((value_colours(values, limit) * 255).round().astype(np.uint8))


def runs_of(mask: Mask) -> str:
    """Encode a mask, shape (H, W), as the page has it: lengths of runs of pixels outside, inside, outside, ..."""
    changes = np.flatnonzero(np.diff(mask.ravel().astype(np.int8), prepend=0))
    return " ".join(map(str, np.diff(changes, prepend=0, append=mask.size)))


def mask_of(runs: str, height: int, width: int) -> Mask:
    """Decode `runs_of` to shape (H, W).

    Raises:
        ValueError: it is not of this size, or has no pixel.
    """
    lengths = np.array(runs.split(" "), np.int64)
    if lengths.sum() != height * width:
        raise ValueError(f"the region must be of the image's {height} x {width} pixels. Reload the page.")
    mask = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    if not mask.any():
        raise ValueError("the region must have a pixel. Brush over the image first.")
    return mask


def table_of(rows: Sequence[ClassRow]) -> str:
    """Numbers of the classes, as CSV."""
    return str(pd.DataFrame(rows, columns=ClassRow._fields).to_csv(index=False, lineterminator="\n"))


def archive(contents: Mapping[str, bytes | str]) -> bytes:
    """Zip named files; equal contents give equal bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return held.getvalue()
