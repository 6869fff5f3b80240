"""Chest X-rays in the layouts that torchxrayvision reads, each by the name of its class there."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.library_images import LibraryImages
from dovision.functional import geometry
from dovision.identity.digests import files_below
from dovision.types import Mask, Shape

log = logging.getLogger(__name__)
_BLACK, _WHITE = -1024, 1024  # of the library's images
_NOT_PLAIN = ("self", "transform", "data_aug")
_LEADS_OUT = r"/\S*|(?:\S*/)?\.\.(?:/\S*)?"  # text without spaces, which the library joins to a folder
_UNKNOWN = ("error", "leave_out", "absent")


@dataclass(frozen=True)
class XrvReader:
    """Images of a dataset of torchxrayvision, in [0, 1]."""

    library: Any
    shape: Shape

    def __call__(self, number: int) -> Tensor:
        try:
            with _numpy_state_restored():
                film = self.library[number]["img"]
        except Exception as error:  # whatever a missing or damaged file makes the library raise
            raise ValueError(f"image {number} of {type(self.library).__name__} cannot be read: {error}.") from error
        image = torch.from_numpy(np.asarray(film, dtype=np.float32))
        return _image_io.repeat_grey((image - _BLACK) / (_WHITE - _BLACK), self.shape)


class Xrv(LibraryImages):
    """Films of a public collection in its published layout. Needs the extra xrv.

    Args:
        name: of a class of torchxrayvision.datasets, such as CheX_Dataset or COVID19_Dataset.
        arguments: its own, such as imgpath, csvpath and views; with pathology_masks, its masks are known.
        task, classes, shape: of the data; any of its pathologies, 1 or 3 channels; films are resized to cover it.
        unknown_labels: error, leave_out or absent, of films for which the collection does not say whether a class is
            there.
        val_fraction, test_fraction: shares of the films, cut by patient; a film without a patient is one of its own.
        seed: of the cut.
        store: folder of images that `prepare` decoded once, of 8 bits; read where it is complete. None: read the files.

    Raises:
        FileNotFoundError: a folder or file among the arguments is not there.
        ValueError: there is no such class, or it refuses its arguments; a class is none of its pathologies; labels are
            unknown.

    Source: Cohen et al., TorchXRayVision, arXiv:2111.00595.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "xrv", {"name": "NIH_Datset", "classes": ["Mass"]})
        Traceback (most recent call last):
            ...
        ValueError: dataset.xrv: name must be one of ... Did you mean NIH_Dataset ...
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        unknown_labels: str,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        store: str | None,
    ) -> None:
        checks.choice("unknown_labels", unknown_labels, _UNKNOWN)
        arguments = arguments or {}
        self.shape = _image_io.grey_or_rgb_shape(shape)
        library = _opened(name, arguments)
        self.task = _checks.task(task, classes, ("multilabel",), "torchxrayvision")
        for pathology in self.task.classes:
            checks.choice("each class", pathology, library.pathologies)
        self.read = XrvReader(library, self.shape)
        places = [list(library.pathologies).index(pathology) for pathology in self.task.classes]
        labels = np.asarray(library.labels, dtype=np.float32)[:, places]
        used = _used(labels, self.task.classes, unknown_labels)
        self.labels = torch.from_numpy(np.nan_to_num(labels[used]))
        self.records = _records(library.csv, used)
        self.mask_names = self.task.classes if arguments.get("pathology_masks") else ()
        self.cut(None, _splits.Cut(val_fraction, test_fraction, seed))
        self.read(int(used[0]))
        options = {key: value for key, value in arguments.items() if not _is_path(value)}
        described = [name, version("torchxrayvision"), sorted(options.items())]
        named = [Path(value) for value in arguments.values() if _is_path(value)]
        self.identify(described, _files(arguments), store, [*named, unknown_labels])

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """Names of the classes if the configuration has none: all pathologies with a known label."""
        library = _opened(settings["name"], settings["arguments"] or {})
        known_labels = np.count_nonzero(~np.isnan(np.asarray(library.labels, dtype=np.float32)), axis=0)
        return [
            str(pathology) for pathology, count in zip(library.pathologies, known_labels.tolist(), strict=True) if count
        ]

    def source_masks(self, split: str, row: int) -> Mapping[str, Mask]:
        """Read masks of pathologies, by their names."""
        library = self.read.library  # type: ignore[attr-defined]
        with _numpy_state_restored():
            sample = library[int(self.records["number"].iloc[self.rows[split][row]])]
        masks = {}
        for index, mask in sample.get("pathology_masks", {}).items():
            name, whole = library.pathologies[index], np.asarray(mask).reshape(sample["img"].shape[1:]) > 0
            if name in self.task.classes and (fitted := geometry.fit_mask(whole, whole.shape, self.shape)).any():
                masks[name] = fitted
        return masks


def _opened(name: str, arguments: Mapping[str, Any]) -> Any:
    """Open the library's dataset."""
    library = checks.import_extra("torchxrayvision", "xrv").datasets
    kinds = {
        key: form
        for key, form in vars(library).items()
        if inspect.isclass(form) and "imgpath" in inspect.signature(form.__init__).parameters
    }
    checks.choice("name", name, sorted(kinds))
    legal = [key for key in inspect.signature(kinds[name].__init__).parameters if key not in _NOT_PLAIN]
    for key, value in arguments.items():
        if key not in legal:
            raise ValueError(checks.unknown_key("dataset.arguments", key, legal))
        if key.endswith("path") and value is not None and not Path(str(value)).exists():
            raise FileNotFoundError(f"arguments.{key} must be a folder or file that exists, got {value}.")
    try:
        with _numpy_state_restored():
            opened: Any = kinds[name](**{key: _as_list(value) for key, value in arguments.items()})
    except Exception as error:  # the library raises bare exceptions, and pandas' own
        reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
        raise ValueError(f"{name} refuses its arguments: {reason}. Set dataset.arguments.") from error
    for column in opened.csv:
        cells = opened.csv[column].astype(str)
        if (wrong := cells.str.fullmatch(_LEADS_OUT)).any():
            raise ValueError(
                f"{column} of {name} must name files below arguments.imgpath, got {cells[wrong].iloc[0]!r}."
            )
    return opened


def _as_list(value: Any) -> Any:
    """Convert a configuration's list to a plain list."""
    return [*value] if isinstance(value, Sequence) and not isinstance(value, str) else value


@contextmanager
def _numpy_state_restored() -> Iterator[None]:
    """Restore numpy's global generator: the library seeds it when it opens a dataset, and draws at each image."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _used(labels: np.ndarray[Any, Any], classes: Sequence[str], unknown: str) -> np.ndarray[Any, Any]:
    """Numbers of the films in use."""
    lacking = np.isnan(labels)
    if lacking.any() and unknown == "error":
        rows, columns = lacking.nonzero()
        raise ValueError(
            f"{len(set(rows.tolist())):,} of {len(labels):,} films have no label of some class, such as "
            f"{classes[columns[0]]} of film {rows[0]}: it is not known whether it is there. Choose other classes, or "
            "set dataset.unknown_labels=leave_out, or absent, which takes it for 0."
        )
    used = np.flatnonzero(~lacking.any(1)) if unknown == "leave_out" else np.arange(len(labels))
    if lacking.any():
        log.warning("%d of %d films have labels that are not known: %s", lacking.any(1).sum(), len(labels), unknown)
    if not len(used):
        raise ValueError("a film must have known labels of all classes, got none. Choose fewer classes.")
    return used


def _records(table: pd.DataFrame, used: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Read numbers, names and patients: the name is the first column of texts that differ, or the number."""
    films = table.iloc[used]
    texts = (column for column in films if films[column].map(type).eq(str).all() and films[column].is_unique)
    column = next(texts, None)
    names = [f"film {number}" for number in used] if column is None else films[column].tolist()
    patient = films["patientid"] if "patientid" in films else pd.Series(names)
    group = patient.astype(str).where(patient.notna().to_numpy(), names)
    return pd.DataFrame({"number": used, "name": names, "group": group.tolist()})


def _is_path(value: object) -> bool:
    return isinstance(value, str) and Path(value).exists()


def _files(arguments: Mapping[str, Any]) -> list[Path]:
    """Files that the arguments name, and those below folders that they name."""
    named = [Path(value).resolve() for value in arguments.values() if _is_path(value)]
    below = [file for folder in named if folder.is_dir() for file in files_below(folder)]
    return [*(path for path in named if path.is_file()), *below]
