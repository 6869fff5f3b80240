"""Seeded cuts of a dataset into train, val and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch

from dovision import checks
from dovision.functional.rng import generator
from dovision.types import SPLITS

_USUAL = {  # names of splits, in lower case
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
}


def probable_splits(names: Iterable[str], lacking: Collection[str] = SPLITS) -> dict[str, str]:
    """The names that splits which are lacking usually have, such as valid or Test, by the split."""
    found = list(names)
    meant = {split: name for split in lacking for name in found if name.lower() in _USUAL[split]}
    return {split: meant[split] for split in SPLITS if split in meant}


def as_setting(names: Mapping[str, str | None]) -> str:
    """A mapping as it is written in a command, such as {val: valid, test: null}."""
    return f"{{{', '.join(f'{key}: null' if name is None else f'{key}: {name}' for key, name in names.items())}}}"


def check_fractions(val: float, test: float) -> None:
    """Raise unless both shares are in [0, 1] and leave something for train."""
    checks.within("val_fraction", val, 0, 1)
    checks.within("test_fraction", test, 0, 1)
    if val + test >= 1:
        raise ValueError(f"val_fraction + test_fraction must be below 1, got {val:g} + {test:g}.")


def split_groups(
    groups: Sequence[Hashable], labels: Sequence[int], val: float, test: float, seed: int
) -> dict[str, tuple[int, ...]]:
    """Row numbers of each split; whole groups stay together, and each split has its share of each label.

    Args:
        groups: the group (patient) of each row.
        labels: the label of each row; groups with the same set of labels are cut in the same proportions.
        val, test: shares of the groups, in [0, 1]; train takes the rest.
    """
    rows, kinds = defaultdict(list), defaultdict(set)
    for row, (group, label) in enumerate(zip(groups, labels, strict=True)):
        rows[group].append(row)
        kinds[group].add(label)
    strata = defaultdict(list)
    for group, present in kinds.items():
        strata[tuple(sorted(present))].append(group)
    chosen: dict[str, list[int]] = {name: [] for name in SPLITS}
    for number, (_, members) in enumerate(sorted(strata.items())):
        order = torch.randperm(len(members), generator=generator(seed, number)).tolist()
        first, second = round(len(order) * val), round(len(order) * (val + test))
        for name, part in (("val", order[:first]), ("test", order[first:second]), ("train", order[second:])):
            chosen[name] += [row for place in part for row in rows[members[place]]]
    return {name: tuple(sorted(part)) for name, part in chosen.items()}


def check_disjoint(groups: Mapping[str, Collection[Any]], what: str, remedy: str) -> None:
    """Raise if a group, such as a patient, is in two splits.

    Args:
        groups: of each split, by its name.
        what: a group is, for the error.
        remedy: a sentence.
    """
    for one, other in combinations(groups, 2):
        shared = sorted(set(groups[one]) & set(groups[other]))
        if shared:
            raise ValueError(
                f"a {what} must be in {one} or in {other}, but {len(shared):,} are in both, such as {what} "
                f"{shared[0]}. {remedy}"
            )


def complete_splits(
    given: Sequence[str], groups: Sequence[Hashable], labels: Sequence[int], val: float, seed: int
) -> dict[str, tuple[int, ...]]:
    """Row numbers of each split, from the split that each row has; val is cut from train where no row has it.

    Rows of test alone leave train and val empty: they can be measured, but nothing can be fitted.

    Args:
        given: of each row, train, val or test.
        groups, labels, val, seed: of the cut, see `split_groups`.

    Raises:
        ValueError: no row is of test, or a val split has no train beside it.
    """
    rows = {name: tuple(row for row, own in enumerate(given) if own == name) for name in SPLITS}
    if not rows["test"] or (rows["val"] and not rows["train"]):
        found = ", ".join(name for name in SPLITS if rows[name])
        raise ValueError(
            f"splits must be train, val and test, train and test, or test alone, got {found}. Give each image one of "
            "these, or none to have them cut."
        )
    if rows["train"] and not rows["val"]:
        train = rows["train"]
        cut = split_groups([groups[row] for row in train], [labels[row] for row in train], val, 0, seed)
        rows |= {name: tuple(train[row] for row in cut[name]) for name in ("train", "val")}
        if not rows["val"]:
            raise ValueError(
                f"val must have an image, but a share of {val:g} of {len(set(groups[row] for row in train)):,} groups "
                "is none. Set dataset.val_fraction."
            )
    return rows
