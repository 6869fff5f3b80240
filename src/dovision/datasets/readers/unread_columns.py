"""Columns of a table that look like patients, splits, masks or boxes, and are not read as such."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from dovision.datasets.readers.boxes import BOX_LAYOUTS, box_columns
from dovision.datasets.readers.manifest import MADE, Manifest
from dovision.datasets.readers.table_rows import Columns

log = logging.getLogger(__name__)
_USUAL = {  # names, without case and signs, of what an optional column of a table has
    "patient": "patient patients patientid patientnumber patientname subject subjectid participantid personid pid",
    "split": "split splits set subset partition phase fold datasplit dataset",
    "mask": "mask masks maskpath maskfile maskfilename segmentation segmentationpath",
}
_INSTEAD = {
    "patient": "each image counts as a patient of its own",
    "split": "splits are cut by a seed",
    "mask": "images have no masks",
}
_BOXES = ("bbox", "bboxes", "box", "boxes", "boundingbox", "boundingboxes")


def warn_of_unread(
    manifest: Manifest,
    stated: Columns,
    columns: Columns,
    classes: Sequence[str],
    other_masks: bool,
    other_boxes: bool,
) -> None:
    """A line in the log about each role that no column has, though one looks like it.

    Args:
        manifest: the table.
        stated: names of its columns as they are set; None of one that is not to be used.
        columns: those that are used.
        classes: whose names columns may have.
        other_masks, other_boxes: whether masks and boxes come from elsewhere.
    """
    masks = columns.mask.values() if isinstance(columns.mask, Mapping) else [columns.mask]
    used = {columns.path, columns.label, columns.patient, columns.split, columns.slice, *masks, *classes}
    names = [name for name in manifest.cells if name not in used and not name.startswith(MADE)]
    folded = {_folded(name): name for name in reversed(names)}
    for role, usual in _USUAL.items():
        own = next((folded[name] for name in usual.split() if name in folded), None)
        absent = getattr(stated, role) is not None and getattr(columns, role) is None
        if own is not None and absent and not (role == "mask" and other_masks):
            log.warning(
                "%s has a column %r that is not read: %s. Set 'dataset.columns.%s=%s' if it is meant",
                manifest.path,
                own,
                _INSTEAD[role],
                role,
                own,
            )
    if not other_boxes and box_columns(manifest) is None and (found := _boxes(names)):
        log.warning(
            "%s has columns that look like boxes, %s, and are not read: name the four numbers %s",
            manifest.path,
            ", ".join(found),
            " or ".join(", ".join(each) for each in BOX_LAYOUTS),
        )


def _boxes(names: Sequence[str]) -> list[str]:
    """Columns of boxes by another name, or four numbers by a mixture of names."""
    numbers = {_folded(name) for each in BOX_LAYOUTS for name in each}
    mixed = [name for name in names if _folded(name) in numbers]
    return [name for name in names if _folded(name) in _BOXES] or (mixed if len(mixed) >= 4 else [])


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
