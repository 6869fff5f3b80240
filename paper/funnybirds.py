"""FunnyBirds: rendered birds with known parts, and pictures of them without some; a component of a user.

PYTHONPATH=. dovision-evaluate --config-dir paper/conf experiment=funnybirds_maps dataset.root=FunnyBirds
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks, to_batch
from dovision.functional import geometry
from dovision.functional.rng import generator
from dovision.interfaces import Counterfactuals, Source
from dovision.types import SOURCE_BOXES, Box, Task

MIN_CHANGED = 3  # pixels that must change when an object is taken away; fewer count as hidden
BODY = "body"  # the part that every picture keeps
_BACKGROUND = "background"  # the kind of objects that are part of no bird


class FunnyBirds(Counterfactuals):
    """FunnyBirds in its authors' layout; a part of it is enough: fewer classes, pictures or removals.

    The root holds train/CLASS/NUMBER.png, test/CLASS/NUMBER.png and the tables classes.json, parts.json,
    dataset_train.json and dataset_test.json, in which a picture has the place NUMBER. Each test picture is drawn again
    in test_interventions/CLASS/NUMBER/ without some of the bird's parts, in a file named after the parts that are left,
    joined by "_", and in background_interventions/OBJECT.png there without an object of the background. Pictures are
    resized to cover the shape, and their centre taken. Validation pictures are cut from the training ones.

    An object of a test picture is a part, such as wing, which speaks for the class of the bird, or an object of the
    background, such as background0, which speaks for none. One that changes fewer than 3 pixels when it is taken away
    is hidden, and left out. The box of an object is that of all pixels that change without it.

    Args:
        root: the folder, such as FunnyBirds.
        task, classes, shape: of the data; classes are named after their numbers, 3 channels.
        val_fraction: share of the training pictures.
        seed: of the cut.

    Raises:
        FileNotFoundError: a folder, a table or a picture is missing.
        ValueError: a table is wrong, or a fact is not what the data say.

    Source: Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023, arXiv:2308.06248.

    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        val_fraction: float,
        seed: int,
    ) -> None:
        self._root = Path(root).resolve()
        self.files = (self._root,)
        self.task = Task(checks.choice("task", task, ["multiclass"]), tuple(classes))
        self.shape = (3, *shape[1:])
        models = self._models()
        if list(classes) != models:
            raise ValueError(f"classes must be what the data say, {models}, got {list(classes)}. Set dataset.classes.")
        self.bird_parts = frozenset(self._table("parts.json", dict)) - {BODY}
        train, test = (self._pictures(split, len(models)) for split in ("train", "test"))
        val = set(_drawn(train["label"].tolist(), checks.within("val_fraction", val_fraction, 0, 1), seed))
        self._rows = {
            "train": train.drop(index=sorted(val)).reset_index(drop=True),
            "val": train.loc[sorted(val)].reset_index(drop=True),
            "test": test,
        }
        drawn = (path for paths in self._removals for path in paths.values())
        self.unread = (*(self._root / name for name in (*train["name"], *test["name"])), *drawn)
        names = [path.relative_to(self._root).as_posix() for path in self.unread]
        described = [self.task, self.shape, sorted(self.bird_parts), *(rows.to_csv() for rows in self._rows.values())]
        self.content = hashlib.sha256(repr([*described, names]).encode()).hexdigest()
        self.recorded = {"pictures": {name: len(rows) for name, rows in self._rows.items()}}

    def source(self, split: str) -> Source:
        rows = self._rows[split]
        paths = [self._root / name for name in rows["name"]]
        return Source(_Pictures(paths, self.shape), torch.tensor(rows["label"]), torch.tensor(rows["number"]))

    def source_table(self, split: str) -> pd.DataFrame:
        return pd.DataFrame({"name": self._rows[split]["name"], "group": self._rows[split]["name"]})

    def source_boxes(self, split: str) -> pd.DataFrame:
        """Box of the pixels that change without an object; none in training and validation pictures."""
        rows = []
        for row, objects in enumerate(self._objects if split == "test" else ()):
            label = self.task.classes[self._rows[split]["label"][row]]
            rows += [(row, obj, label if obj in self.bird_parts else None, *box) for obj, box in objects.items()]
        return pd.DataFrame(rows, columns=SOURCE_BOXES)

    def source_objects(self, split: str, row: int) -> tuple[str, ...]:
        """Removable objects of a test picture: its parts, and those of its background."""
        return tuple(self._objects[row]) if split == "test" else ()

    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """Read the same scene without some objects, shape (3, H, W), from its file.

        Raises:
            ValueError: there is no file without just these objects.
        """
        if not objects:
            return self.source(split).image(row)
        for obj in objects:
            checks.choice("object", obj, self.source_objects(split, row))
        if not self.source_has_counterfactual(split, row, *objects):
            raise ValueError(
                f"objects must be left out as the files of test_interventions have it, got {', '.join(objects)}, "
                f"without which {self._test_names[row]} was not drawn."
            )
        return self._read(self._removals[row][frozenset(objects)])

    def source_has_counterfactual(self, split: str, row: int, *objects: str) -> bool:
        return split == "test" and frozenset(objects) in self._removals[row]

    @cached_property
    def _removals(self) -> list[dict[frozenset[str], Path]]:
        """Files of each test picture, by the objects that are left out."""
        folder = self._root / "test_interventions"
        names = map(Path, self._test_names)
        return [dict(_removals(folder / name.parent.name / name.stem, self.bird_parts)) for name in names]

    @property
    def _test_names(self) -> list[str]:
        return self._rows["test"]["name"].tolist()

    @cached_property
    def _objects(self) -> list[dict[str, Box]]:
        """Visible objects of each test picture, and their boxes."""
        names = self._test_names

        def seen(row: int) -> dict[str, Box]:
            image = self._read(self._root / names[row])
            single = {next(iter(gone)): path for gone, path in self._removals[row].items() if len(gone) == 1}
            changed = {obj: (self._read(single[obj]) != image).any(0).numpy() for obj in sorted(single)}
            return {obj: geometry.bounding_box(mask) for obj, mask in changed.items() if mask.sum() >= MIN_CHANGED}

        with ThreadPoolExecutor() as pool:
            return list(pool.map(seen, range(len(names))))

    def _read(self, path: Path) -> Tensor:
        return _Pictures([path], self.shape)(0)

    def _table(self, name: str, form: type[Any] = list) -> Any:
        path = self._root / name
        if not path.is_file():
            raise FileNotFoundError(
                f"root must be a folder as FunnyBirds is published, but {path} is missing. Set dataset.root."
            )
        try:
            table = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be JSON, got {error}. Fetch it again.") from error
        if not isinstance(table, form) or not table:
            raise ValueError(f"{path} must be a JSON {form.__name__} with entries, got {type(table).__name__}.")
        return table

    def _models(self) -> list[str]:
        """Number of each class, as text."""
        path = self._root / "classes.json"
        numbers = sorted(_number(row, "class_idx", path) for row in self._table(path.name))
        if numbers != list(range(len(numbers))):
            got = ", ".join(map(str, numbers))
            raise ValueError(f"{path} must number its classes from 0 on, each once, got {got}.")
        return list(map(str, numbers))

    def _pictures(self, split: str, classes: int) -> pd.DataFrame:
        """Read name, label and number (of all pictures) of each picture of a table."""
        path = self._root / f"dataset_{split}.json"
        rows = []
        for number, scene in enumerate(self._table(path.name)):
            label = _number(scene, "class_idx", path)
            if label >= classes:
                raise ValueError(f"{path} must have classes below {classes}, got {label} for picture {number}.")
            rows.append((f"{split}/{label}/{number:06d}.png", label, number))
        pictures = pd.DataFrame(rows, columns=["name", "label", "number"])
        missing = [name for name in pictures["name"] if not (self._root / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"each picture of {path} must be there, but {len(missing):,} of {len(pictures):,} are missing, such as "
                f"{self._root / missing[0]}."
            )
        return pictures.assign(number=pictures["number"] * 2 + (split == "test"))  # no picture is in two splits


@dataclass(frozen=True)
class _Pictures:
    """Pictures by their files, shape (3, H, W), without their transparency."""

    paths: Sequence[Path]
    shape: Sequence[int]

    def __call__(self, row: int) -> Tensor:
        return to_batch(self.paths[row], (self.shape[1], self.shape[2]))[0]


def _drawn(labels: Sequence[int], share: float, seed: int) -> list[int]:
    """Rows that are drawn for val, the same share of each label."""
    rows = []
    for number, label in enumerate(sorted(set(labels))):
        same = [row for row, other in enumerate(labels) if other == label]
        order = torch.randperm(len(same), generator=generator(seed, number)).tolist()
        rows += [same[row] for row in order[: round(len(same) * share)]]
    return rows


def _removals(folder: Path, all_parts: frozenset[str]) -> Iterator[tuple[frozenset[str], Path]]:
    """Removed objects, and the file without them, of all files of a test picture."""
    for path in sorted(folder.glob("*.png")):
        kept = frozenset(path.stem.split("_")) - {BODY, ""}  # body_.png has none
        if not kept <= all_parts:
            raise ValueError(f"{path} must be named after the parts that are left, got {', '.join(kept - all_parts)}.")
        if kept != all_parts:
            yield all_parts - kept, path
    for path in sorted((folder / "background_interventions").glob("*.png")):
        if path.stem.isdecimal():
            yield frozenset({f"{_BACKGROUND}{int(path.stem)}"}), path


def _number(row: Mapping[str, Any], key: str, path: Path) -> int:
    value = row.get(key) if isinstance(row, Mapping) else None
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"each entry of {path} must have a whole number {key}, got {value!r}.")
    return value
