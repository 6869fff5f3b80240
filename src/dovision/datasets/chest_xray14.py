"""ChestX-ray14: 112,120 frontal chest films of 30,805 patients, with 14 labels and 984 boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _nih_store, _nih_tables, _splits
from dovision.functional import geometry
from dovision.interfaces import Images, Source
from dovision.types import SOURCE_BOXES, SPLITS, Box

log = logging.getLogger(__name__)


class ChestXray14(Images):
    """The dataset as the NIH released it; a part of the films is enough, and each keeps its split.

    The root holds the tables Data_Entry_2017_v2020.csv or Data_Entry_2017.csv and BBox_List_2017.csv (each may be
    gzipped), the lists train_val_list.txt and test_list.txt, and the films in images_001/images, images_002/images, ...
    or all in images; 1024 x 1024 pixels, or made smaller as a whole. Boxes are read in pixels of the 1024 x 1024 film.
    A film is resized to cover the shape, its centre taken, and its boxes with it.

    The fingerprint covers the bytes, names, patients, findings, boxes and splits of the films on disk; and, where a
    store is read, the store's bytes. What a store is made of is compared with the films by their SHA-256.

    Args:
        root: the folder.
        task, classes, shape: facts; classes are some or all of the 14 labels, channels 1 or 3 (grey, repeated).
        split: official, by the lists, with val cut from train_val by patient; or patients, which cuts all by patient.
        val_fraction: share of the patients, of those in train_val for the official split.
        test_fraction: share of the patients, where split is patients.
        seed: of the cut.
        store_size: height and width in pixels of the films decoded once by `prepare`, at least the shape's; read where
            it is complete. None: read the files.
        workers: threads that decode in `prepare`.

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
        store_size: int | None,
        workers: int,
    ) -> None:
        folder = Path(root).resolve()
        self.files = (folder,)
        self.task = _checks.task(task, _nih_tables.labels_chosen(classes), ("multilabel",), "ChestX-ray14")
        self.shape = _image_io.grey_or_rgb_shape(shape)
        self._workers = checks.positive_int("workers", workers)
        _splits.check_fractions(val_fraction, test_fraction)
        entries = _nih_tables.read_entries(folder)
        official = checks.choice("split", split, ("official", "patients")) == "official"
        lists = _nih_tables.lists(folder) if official else None
        splits = split_films(entries, lists, val_fraction, test_fraction, seed)
        self._films = entries.assign(split=splits).merge(_nih_store.films_on_disk(folder), on="name")
        boxes = _nih_tables.read_finding_boxes(folder, entries["name"])
        self._boxes = boxes[boxes["name"].isin(self._films["name"])]
        self._counts = {
            "lists_sha256": {} if lists is None else lists.sha256,
            "listed": len(entries),
            "on_disk": len(self._films),
            "missing": len(entries) - len(self._films),
            "boxes": len(self._boxes),
            "films": {name: len(self._of(name)) for name in SPLITS},
            "patients": {name: int(self._of(name)["patient"].nunique()) for name in SPLITS},
        }
        for name in SPLITS:
            if self._of(name).empty:
                raise ValueError(
                    f"each split must have a film on disk, but {name} has none of the {len(self._films):,} in "
                    f"{folder}. Add films, or cut by patient, with larger shares: dataset.split=patients."
                )
        log.info(
            "ChestX-ray14: %(on_disk)s of %(listed)s films on disk, %(boxes)s boxes; films %(films)s", self._counts
        )
        self._store = None
        if store_size is not None:
            if checks.positive_int("store_size", store_size) < max(self.shape[1:]):
                raise ValueError(
                    f"store_size must be at least the height and width of the shape, {max(self.shape[1:])}, got "
                    f"{store_size}."
                )
            self._store = _nih_store.Store(folder / f"store-{store_size}", store_size, entries["name"])
        self._choose_source()

    def source(self, split: str) -> Source:
        """The films of a split.

        Raises:
            ValueError: files have changed since the store was made of them.
        """
        films = self._of(split)
        if self._changed:
            raise ValueError(
                f"films must be as they were when they were stored, but {len(self._changed):,} files have changed, "
                f"such as {self._changed[0]}. Run dovision-prepare again, or read the files: dataset.store_size=null."
            )
        label = torch.from_numpy(_nih_tables.label_matrix(films["findings"], self.task.classes))
        group = torch.tensor(films["patient"].to_numpy())
        if self._complete is not None:
            rows = self._complete.rows(films["name"])
            return Source(_image_io.FromArray(self._complete.images, rows, self.shape), label, group)
        read = partial(_nih_store.read_film, shape=self.shape)
        return Source(_image_io.FromFiles(films["path"].tolist(), read), label, group)

    def source_table(self, split: str) -> pd.DataFrame:
        """Besides `name`, the file's: `patient`, `age` in years, `sex`, `view` (PA or AP), `labels` joined by "|"."""
        films = self._of(split).assign(group=lambda films: films["patient"].astype(str))
        columns = ["name", "group", "patient", "age", "sex", "view", "findings"]
        return films[columns].rename(columns={"findings": "labels"})

    def source_boxes(self, split: str) -> pd.DataFrame:
        """The radiologists' boxes; one of a label that is no class has the label None."""
        row = {name: row for row, name in enumerate(self._of(split)["name"])}
        fit = geometry.central_fit(_nih_tables.FILM, _nih_tables.FILM, self.shape)
        rows = []
        for film, label, obj, *edges in self._boxes.itertuples(index=False):
            box = geometry.fit_box(Box(*edges), fit)
            if film in row and box.area:  # it may lie outside the centre that is taken
                rows.append((row[film], obj, label if label in self.task.classes else None, *box))
        return pd.DataFrame(rows, columns=SOURCE_BOXES)

    def prepare(self) -> None:
        """Decode each film once, into root/store-<store_size>, which is read from then on; may be stopped and resumed.

        Raises:
            ValueError: there is no store_size, or some files are bad, raised when all others are done.
        """
        if self._store is None:
            raise ValueError("store_size must be a number of pixels to prepare films, got None. Such as 256.")
        self._store.fill(self._films, self._workers)
        self._choose_source()

    def _of(self, split: str) -> pd.DataFrame:
        return self._films[self._films["split"] == split].reset_index(drop=True)

    def _choose_source(self) -> None:
        """Read the store if it has every film, else the files; the fingerprint and the facts say which."""
        self._complete, self._changed = None, []
        films = self._films[["name", "patient", "findings", "split"]]
        self.unread = tuple(map(Path, self._films["path"]))
        if self._store is not None:
            state = self._store.state(self._films)
            self._changed = self._films["name"][state.changed].tolist()
            use = "the files are read until dovision-prepare has made the rest"
            if state.complete:
                self._complete, use = self._store, "it is read"
                films = films.assign(sha256=self._store.hashes(films["name"]))
                self.unread = (self._store.images.path,)
            log.info("%s has %s of %s films: %s", self._store.folder, state.made.sum(), len(films), use)
        size = None if self._complete is None else self._complete.size
        about = repr((self.task.classes, self.shape, size))
        content = (about, films.to_csv(index=False), self._boxes.to_csv(index=False))
        self.content = _checks.fingerprint((text.encode() for text in content), {})
        self.facts = {**self._counts, "store_size": size}


def split_films(
    entries: pd.DataFrame, lists: _nih_tables.Lists | None, val_fraction: float, test_fraction: float, seed: int
) -> npt.NDArray[np.object_]:
    """The split of each entry: by the official lists, with val cut by patient from train_val, or all cut by patient.

    Each split that is cut has its share of the patients with and without a finding.

    Raises:
        ValueError: a film is in none of the lists, or a patient in both.
    """
    cut = np.arange(len(entries))
    if lists is not None:
        listed = [np.flatnonzero(entries["name"].isin(part)) for part in (lists.train_val, lists.test)]
        unlisted = np.setdiff1d(cut, np.concatenate(listed))
        if len(unlisted):
            raise ValueError(
                f"each film must be in {' or '.join(_nih_tables.LISTS)}, but {len(unlisted):,} are in neither, such as "
                f"{entries['name'].iloc[unlisted[0]]}. Take the lists as they were released."
            )
        patients = {name: entries["patient"].iloc[rows] for name, rows in zip(_nih_tables.LISTS, listed, strict=True)}
        _splits.check_disjoint(patients, "patient", "Take the lists as they were released.")
        cut, test_fraction = listed[0], 0
    patient, sick = entries["patient"].iloc[cut], entries["findings"].iloc[cut] != _nih_tables.HEALTHY
    rows = _splits.split_groups(patient.tolist(), sick.tolist(), val_fraction, test_fraction, seed)
    splits = np.full(len(entries), "test", dtype=object)
    for name, own in rows.items():
        splits[cut[list(own)]] = name
    return splits
