"""ChestX-ray14: 112,120 frontal chest films of 30,805 patients, with 14 labels and 984 boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _nih_tables, _splits
from dovision.datasets.readers.file_images import FileImages
from dovision.interfaces import Source
from dovision.types import SPLITS

_RECORD = ["name", "path", "number", "group", "height", "width"]
_METADATA = ["patient", "age", "sex", "view", "labels"]  # of a film


class ChestXray14(FileImages):
    """The dataset as the NIH released it; a part of the films is enough, and each keeps its split.

    The root holds the tables Data_Entry_2017_v2020.csv or Data_Entry_2017.csv and BBox_List_2017.csv (each may be
    gzipped), the lists train_val_list.txt and test_list.txt, and the films in images_001/images, images_002/images, ...
    or all in images; 1024 x 1024 pixels, or made smaller as a whole. Boxes are read in pixels of the 1024 x 1024 film.
    A film is resized to cover the shape, its centre taken, and its boxes with it.

    The fingerprint covers names, patients, findings, boxes and splits of the films on disk, and their bytes.

    Args:
        root: the folder.
        task, classes, shape: of the data; classes are some or all of the 14 labels, channels 1 or 3 (grey, repeated).
        split: official, by the lists, with val cut from train_val by patient; or patients, which cuts all by patient.
        val_fraction: share of the films, cut by patient, of those in train_val for the official split.
        test_fraction: share of the films, where split is patients.
        seed: of the cut.

    Raises:
        FileNotFoundError: a table, a list or the films are missing.
        ValueError: a row of a table is wrong, a patient is in both lists, a split is empty, a fact is not possible.

    Source: Wang et al., ChestX-ray8, CVPR 2017, arXiv:1705.02315.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "chest_xray14", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.chest_xray14: Data_Entry_2017_v2020.csv or ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        split: str,
        val_fraction: float,
        test_fraction: float,
        seed: int,
    ) -> None:
        folder = Path(root).resolve()
        self.task = _checks.task(task, classes, ("multilabel",), "ChestX-ray14")
        for name in self.task.classes:
            checks.choice("classes", name, _nih_tables.FINDINGS)
        self.shape = _image_io.grey_or_rgb_shape(shape)
        _splits.check_fractions(val_fraction, test_fraction)
        entries = _nih_tables.read_entries(folder)
        official = checks.choice("split", split, ("official", "patients")) == "official"
        lists = _nih_tables.lists(folder) if official else None
        splits = split_films(entries, lists, val_fraction, test_fraction, seed)
        films = entries.assign(split=splits).merge(_nih_tables.films_on_disk(folder), on="name")
        self.rows = {name: np.flatnonzero(films["split"] == name).tolist() for name in SPLITS}
        self._patients = torch.tensor(films["patient"].to_numpy())
        self.labels = torch.from_numpy(_nih_tables.label_matrix(films["findings"], self.task.classes))
        size = _nih_tables.FILM  # in pixels of which boxes are given, whatever the file has
        records = films.rename(columns={"findings": "labels"}).assign(number=None, height=size, width=size)
        self.records = records.assign(group=records["patient"].astype(str))[[*_RECORD, *_METADATA]]
        self.boxes_in_files = _nih_tables.read_finding_boxes(folder, entries["name"], films, self.task.classes)
        self.recorded = {
            "lists_sha256": {} if lists is None else lists.sha256,
            "listed": len(entries),
            "on_disk": len(films),
            "missing": len(entries) - len(films),
            "boxes": len(self.boxes_in_files),
            "films": {name: len(rows) for name, rows in self.rows.items()},
            "patients": {name: int(films["patient"].iloc[rows].nunique()) for name, rows in self.rows.items()},
        }
        _splits.check_classes(self.rows, self.labels, self.task.classes)
        self.identify(b"", [folder], images_read=False)

    def source(self, split: str) -> Source:
        return super().source(split)._replace(group=self._patients[self.rows[split]])

    def source_table(self, split: str) -> pd.DataFrame:
        """Columns besides `name`: `patient`, `age` in years, `sex`, `view` (PA or AP), `labels` joined by "|"."""
        return super().source_table(split).drop(columns=["height", "width"])


def split_films(
    entries: pd.DataFrame, lists: _nih_tables.Lists | None, val_fraction: float, test_fraction: float, seed: int
) -> npt.NDArray[np.object_]:
    """Split each entry: by the official lists, with val cut by patient from train_val, or all cut by patient.

    Each split that is cut has its share of the films and of each of the 14 findings.

    Raises:
        ValueError: a film is in none of the lists, or a patient in both.
    """
    cut = np.arange(len(entries))
    if lists is not None:
        listed = [np.flatnonzero(entries["name"].isin(names)) for names in (lists.train_val, lists.test)]
        unlisted = np.setdiff1d(cut, np.concatenate(listed))
        if len(unlisted):
            raise ValueError(
                f"each film must be in {' or '.join(_nih_tables.LISTS)}, but {len(unlisted):,} are in neither, such as "
                f"{entries['name'].iloc[unlisted[0]]}. Take the lists as they were released."
            )
        patients = {name: entries["patient"].iloc[rows] for name, rows in zip(_nih_tables.LISTS, listed, strict=True)}
        _splits.check_disjoint(patients, "patient", "Take the lists as they were released.")
        cut, test_fraction = listed[0], 0
    patient = entries["patient"].iloc[cut]
    labels = _nih_tables.label_matrix(entries["findings"].iloc[cut], _nih_tables.FINDINGS)
    rows = _splits.split_groups(patient.tolist(), labels, val_fraction, test_fraction, seed)
    splits = np.full(len(entries), "test", dtype=object)
    for name, places in rows.items():
        splits[cut[list(places)]] = name
    return splits
