"""Labels in a table: names of classes, or a column of zeros and ones for each class."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets.readers.manifest import Manifest, together
from dovision.types import Task

_UNKNOWN = ("", "-1", "-1.0", "nan")
_ZERO, _ONE = ("0", "0.0", "false"), ("1", "1.0", "true")  # the last ones in any case, as pandas writes them
IGNORED = -1  # the label of a row that is left out


def labels_from_names(manifest: Manifest, column: str, task: Task, separator: str, ignored: Collection[str]) -> Tensor:
    """Read labels from a column of class names, shape (N,), or for multilabel (N, K), float.

    Args:
        manifest: the table.
        column: its column.
        task: one name a row for multiclass; for multilabel any number, joined by the separator, none in an empty cell.
        separator: between names, such as "|".
        ignored: names that stand for no class: a multiclass row of one gets IGNORED.

    Raises:
        ValueError: a name is unknown, or a multiclass row has none or several.
    """
    cells = manifest.column(column, "columns.label")
    number = {name: index for index, name in enumerate(task.classes)} | dict.fromkeys(ignored, IGNORED)
    if not task.multilabel:
        manifest.refuse(column, cells == "", "the name of a class", "Leave the row out, or give its class.")
    legal = checks.listed(task.classes)
    named = {cell: [name.strip() for name in cell.split(separator) if name.strip()] for cell in cells.unique()}
    whole = {cell: [cell] if cell in number else names for cell, names in named.items()}
    refused: list[Callable[[], None]] = []
    for cell, names in whole.items():
        unknown = [name for name in names if name not in number]
        if unknown:
            near = checks.suggestion(unknown[0].removesuffix(".0"), task.classes)  # of numbers, as pandas writes them
            remedy = f"{near.strip()} Name others in dataset.ignored_labels, or all in dataset.classes.".strip()
            refused.append(partial(manifest.refuse, column, cells == cell, f"of the classes {legal}", remedy))
        if not task.multilabel and len(names) > 1:
            rule = "one class, since the task is multiclass"
            refused.append(partial(manifest.refuse, column, cells == cell, rule, "Use dataset.task=multilabel."))
    together(*refused)
    if task.multilabel:
        rows = {cell: [name in names for name in task.classes] for cell, names in whole.items()}
        return torch.tensor([rows[cell] for cell in cells], dtype=torch.float32)
    return torch.tensor([number[whole[cell][0]] for cell in cells], dtype=torch.int64)


def labels_from_columns(manifest: Manifest, task: Task) -> Tensor:
    """Read labels from a column per class: 0, 1, or, for multilabel if unknown, nothing or -1.

    Raises:
        ValueError: a class has no column, a cell is something else, or a multiclass row has not exactly one 1.
    """
    columns = []
    for name in task.classes:
        cells = manifest.column(name, f"the class {name}").str.lower()
        legal = (*_ZERO, *_ONE, *(_UNKNOWN if task.multilabel else ()))
        rule = "0, 1 or, where it is not known, empty or -1" if task.multilabel else "0 or 1"
        manifest.refuse(name, ~cells.isin(legal), rule)
        columns.append(np.select([cells.isin(_ONE), cells.isin(_ZERO)], [1.0, 0.0], np.nan))
    label = np.stack(columns, axis=1)
    if task.multilabel:
        return torch.from_numpy(label.astype(np.float32))
    wrong = label.sum(1) != 1
    manifest.refuse(
        task.classes[0], wrong, "such that one class of the row is 1", "Mend the row, or use dataset.task=multilabel."
    )
    return torch.from_numpy(label.argmax(1))
