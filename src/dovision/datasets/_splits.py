"""Seeded cuts of a dataset into train, val and test."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.types import SPLITS

log = logging.getLogger(__name__)
_ATTEMPTS = 10  # at shares of rows within a point
_COMMON = 0.05  # share from which on a split has each label
_ALL = -1  # the label of all rows
_USUAL = {  # names of splits, in lower case
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
}


def probable_splits(names: Iterable[str], lacking: Collection[str] = SPLITS) -> dict[str, str]:
    """Usual names of missing splits, such as valid or Test, by the split."""
    listed = list(names)
    meant = {split: name for split in lacking for name in listed if name.lower() in _USUAL[split]}
    return {split: meant[split] for split in SPLITS if split in meant}


def as_setting(names: Mapping[str, str | None]) -> str:
    """Format a mapping as it is written in a command, such as {val: valid, test: null}."""
    return f"{{{', '.join(f'{key}: null' if name is None else f'{key}: {name}' for key, name in names.items())}}}"


def split_remedy(key: str, meant: Mapping[str, str]) -> str:
    """Sentence with the setting of splits of other names, behind a space; empty where there is none."""
    others = as_setting(dict.fromkeys(meant))
    return (
        f" Set 'dataset.{key}={as_setting(meant)}', or, to leave them out, 'dataset.{key}={others}'." if meant else ""
    )


def check_fractions(val: float, test: float) -> None:
    """Raise unless both shares are in [0, 1] and leave something for train."""
    checks.within("val_fraction", val, 0, 1)
    checks.within("test_fraction", test, 0, 1)
    if val + test >= 1:
        raise ValueError(f"val_fraction + test_fraction must be below 1, got {val:g} + {test:g}.")


def groups_by_pattern(names: Sequence[str], pattern: str | None) -> list[str]:
    """Group of each file: the pattern's match in its name, or in its path for a pattern with a slash; None: the path.

    Raises:
        ValueError: the pattern is no regular expression, or does not match.
    """
    try:
        expression = re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"group must be a regular expression, got {pattern!r}: {error}.") from error
    if pattern is None:
        return list(names)
    matches = [expression.search(name if "/" in pattern else name.rpartition("/")[2]) for name in names]
    if None in matches:
        name = names[matches.index(None)]
        raise ValueError(f"group must match each file's name, but {pattern!r} does not match {name}.")
    return [match[0] for match in matches if match is not None]


class _Stratum(NamedTuple):
    """Groups that have the same labels in equally many rows."""

    groups: list[Hashable]
    images: Counter[int]  # of a group, by label, and in all


def split_groups(
    groups: Sequence[Hashable], labels: npt.ArrayLike, val: float, test: float, seed: int
) -> dict[str, tuple[int, ...]]:
    """Split rows by whole groups, so that each split has its share of rows and of each label; return row numbers.

    Iterative stratification: groups go to the split that lacks most images of their rarest label, those of the rarest
    label first. A label of three groups or more gets into each split of a share of .05 or more, unless other labels of
    its groups forbid it. Where images or those of a label are more than a point off, other orders are tried, and the
    best one taken. Rows that are groups of their own, with one label, are cut label by label, rounded, where that is
    within a point and leaves no label out. Rows in another order can be cut otherwise.

    Args:
        groups: the group (patient) of each row.
        labels: the label of each row, shape (N,), or for multilabel ones and others, shape (N, K).
        val, test: shares of the rows, in [0, 1]; train takes the rest.
        seed: of the order and of the groups within each stratum.

    Source: Sechidis et al., On the stratification of multi-label data, ECML PKDD 2011.
    """
    strata, rows = _strata(groups, np.asarray(labels))
    shares = {name: share for name, share in zip(SPLITS, (1 - val - test, val, test), strict=True) if share > 0}
    near = max(1, len(groups) / 100)
    cuts: list[list[Counter[str]]] = []
    if len(rows) == len(groups) and np.ndim(labels) == 1:
        rounded: list[Counter[str]] = []
        for size in (len(stratum.groups) for stratum in strata):
            first, second = round(size * val), round(size * (val + test))
            rounded.append(Counter(train=size - second, val=first, test=second - first))
        common = [name for name in shares if shares[name] >= _COMMON]
        whole = all(count[name] or sum(count.values()) < len(SPLITS) for count in rounded for name in common)
        cuts = [rounded] if whole else []
    while len(cuts) < _ATTEMPTS and (not cuts or _error(strata, cuts[-1], shares, near) > (near, near)):
        cuts.append(_cut(strata, shares, generator(seed, len(cuts), 0), slack=len(cuts) % 2))
    cut = min(cuts, key=lambda cut: _error(strata, cut, shares, near))
    chosen: dict[str, list[int]] = {name: [] for name in SPLITS}
    for number, (stratum, count) in enumerate(zip(strata, cut, strict=True)):
        order = torch.randperm(len(stratum.groups), generator=generator(seed, number)).tolist()
        val_end, test_end = count["val"], count["val"] + count["test"]
        of_split = {"val": order[:val_end], "test": order[val_end:test_end], "train": order[test_end:]}
        for name, places in of_split.items():
            chosen[name] += [row for index in places for row in rows[stratum.groups[index]]]
    for name, share in shares.items():
        if abs(len(chosen[name]) - share * len(groups)) > near:
            got = len(chosen[name]) / len(groups)
            log.warning("%s gets %.3f of the images, not %.3f: groups are large, or labels rare", name, got, share)
    return {name: tuple(sorted(rows_of_split)) for name, rows_of_split in chosen.items()}


def _strata(groups: Sequence[Hashable], labels: npt.NDArray[Any]) -> tuple[list[_Stratum], dict[Hashable, list[int]]]:
    """Group the rows into strata, in the order of their labels; return the rows of each group as well."""
    several = labels.ndim == 2
    sets, numbers = np.unique(labels == 1 if several else labels, axis=0, return_inverse=True)
    none = labels.shape[1] if several else 0  # the label of rows without one, so that they are cut as well
    present = [np.flatnonzero(row).tolist() or [none] if several else [index] for index, row in enumerate(sets)]
    rows, content, alike = defaultdict(list), defaultdict(list), defaultdict(list)
    for row, (group, number) in enumerate(zip(groups, numbers.ravel().tolist(), strict=True)):
        rows[group].append(row)
        content[group].append(number)
    for group, members in content.items():
        alike[tuple(sorted(members))].append(group)
    counted = {key: Counter(label for number in key for label in (_ALL, *present[number])) for key in alike}
    return [_Stratum(alike[key], counted[key]) for key in sorted(alike)], rows


def _lacked(
    strata: Sequence[_Stratum], cut: Sequence[Counter[str]], shares: Mapping[str, float]
) -> dict[int, dict[str, float]]:
    """Number of images of each label that each split lacks of its share."""
    lacked: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(shares, 0.0))
    for stratum, count in zip(strata, cut, strict=True):
        for label, images in stratum.images.items():
            for name, share in shares.items():
                lacked[label][name] += images * (share * len(stratum.groups) - count[name])
    return lacked


def _error(
    strata: Sequence[_Stratum], cut: Sequence[Counter[str]], shares: Mapping[str, float], near: float
) -> tuple[float, float]:
    """Largest deviation from a split's share of images, at least `near`; and the largest of any label's images."""
    lacked = _lacked(strata, cut, shares)
    off = {label: max(map(abs, names.values())) for label, names in lacked.items()}
    return max(near, off.get(_ALL, 0)), max(off.values(), default=0)


def _cut(
    strata: Sequence[_Stratum], shares: Mapping[str, float], random: torch.Generator, slack: int
) -> list[Counter[str]]:
    """Draw a cut: the number of groups of each stratum in each split, with order and ties drawn."""
    cut: list[Counter[str]] = [Counter() for _ in strata]
    lacked = _lacked(strata, cut, shares)
    having = {label: [index for index, stratum in enumerate(strata) if label in stratum.images] for label in lacked}
    waiting = {label: sum(len(strata[index].groups) for index in places) for label, places in having.items()}
    absent = {label: {name for name in shares if shares[name] >= _COMMON} for label in lacked}
    draw = torch.rand(len(strata), generator=random).tolist()
    for label in sorted(having, key=lambda label: (sum(lacked[label].values()), label)):
        for index in sorted(having[label], key=lambda index: (-strata[index].images[label].bit_length(), draw[index])):
            images = strata[index].images
            while left := len(strata[index].groups) - sum(cut[index].values()):
                names = list(shares)[:: 1 if draw[index] < 0.5 else -1]
                for other in images:  # of which all that are left are needed
                    if waiting[other] <= len(absent[other]):
                        names = [name for name in names if name in absent[other]] or names
                names = [name for name in names if 2 * lacked[_ALL][name] >= images[_ALL]] or names
                least = max(lacked[label][name] for name in names) - slack * images[label] - 1e-6
                names = [name for name in names if lacked[label][name] >= least]
                chosen = max(names, key=lambda name: round(lacked[_ALL][name] / (shares[name] if slack else 1), 6))
                count = 1 + left // 100
                cut[index][chosen] += count
                for other in images:
                    lacked[other][chosen] -= count * images[other]
                    waiting[other] -= count
                    absent[other].discard(chosen)
    return cut


@dataclass(frozen=True)
class Cut:
    """Settings for splitting rows into train, val and test.

    Args:
        val, test: shares of the rows, where rows have no such split.
        seed: of the cut.
        leaking: refuse, warn or drop, of groups with rows in two splits; drop leaves them in the later one.
    """

    val: float
    test: float
    seed: int
    leaking: str = "refuse"

    def __post_init__(self) -> None:
        check_fractions(self.val, self.test)
        checks.choice("leaking", self.leaking, ("refuse", "warn", "drop"))


def split_rows(
    given: Sequence[str] | None,
    groups: Sequence[str],
    labels: Tensor,
    classes: Sequence[str],
    cut: Cut,
    needed: Collection[str],
) -> dict[str, tuple[int, ...]]:
    """Row numbers of each split: as given, with val cut from train if no row has it, or all cut by group.

    Args:
        given: the split of each row; None: they are cut.
        groups, labels: of each row, as of `split_groups`.
        classes: names of the labels.
        cut: its shares, its seed, and whether groups may lie in two given splits.
        needed: splits in which each class must have a row; of others, classes without one are named in the log.

    Raises:
        ValueError: a split is empty or lacks a class, a group lies in two, or the given splits are not complete.
    """
    if given is None:
        rows = split_groups(groups, labels.numpy(), cut.val, cut.test, cut.seed)
    else:
        rows = _without_leaks(
            {name: [row for row, given_split in enumerate(given) if given_split == name] for name in SPLITS},
            groups,
            cut,
        )
        rows = _complete(rows, groups, labels, cut)
    check_classes(rows, labels, classes, needed)
    return rows


def check_classes(
    rows: Mapping[str, Sequence[int]], labels: Tensor, classes: Sequence[str], needed: Collection[str] = ()
) -> None:
    """Log the number of rows of each split and its missing classes; arguments as of `split_rows`."""
    total = sum(map(len, rows.values()))
    counts = ", ".join(f"{name} {len(rows[name]):,} ({len(rows[name]) / max(1, total):.3f})" for name in SPLITS)
    log.info("splits: %s of %s images", counts, f"{total:,}")
    for name in SPLITS if rows["train"] else ("test",):
        if not rows[name]:
            raise ValueError(
                f"each split must have an image, but {name} has none of {total:,}. Set dataset.val_fraction and "
                "dataset.test_fraction, or give each image its split."
            )
    for name, absent in split_facts(rows, labels, classes)["absent_classes"].items():
        if name in needed:
            raise ValueError(
                f"each class must have an image in {name}, but {checks.listed(absent)} has none. Leave it out of "
                "dataset.classes, or give its images other splits."
            )
        log.warning("%s has no image of %s", name, checks.listed(absent))


def split_facts(rows: Mapping[str, Sequence[int]], labels: Tensor, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Number of images of each split, and the classes without one there, as a run records them."""
    absent = {}
    for name, places in rows.items():
        label = labels[list(places)]
        count = (label == 1).sum(0) if label.ndim == 2 else label.bincount(minlength=len(classes))
        if names := [one for one, images in zip(classes, count.tolist(), strict=True) if places and not images]:
            absent[name] = names
    return {"images": {name: len(places) for name, places in rows.items()}, "absent_classes": absent}


def check_disjoint(groups: Mapping[str, Collection[Any]], what: str, remedy: str) -> None:
    """Raise if a group, `what` in the error, is in two splits; `groups` has those of each, `remedy` a sentence."""
    for one, other in combinations(groups, 2):
        shared = sorted(set(groups[one]) & set(groups[other]))
        if shared:
            raise ValueError(
                f"a {what} must be in {one} or in {other}, but {len(shared):,} are in both, such as {what} "
                f"{shared[0]}. {remedy}"
            )


def _without_leaks(rows: Mapping[str, Sequence[int]], groups: Sequence[str], cut: Cut) -> dict[str, tuple[int, ...]]:
    """Drop rows of groups that are also in a later split, if these are to be dropped."""
    if cut.leaking == "refuse":
        remedy = "Choose other groups or splits, or leave them in one with dataset.leaking=drop."
        check_disjoint({name: {groups[row] for row in places} for name, places in rows.items()}, "group", remedy)
    kept, later = {}, set[str]()
    for name in reversed(SPLITS):
        shared = {groups[row] for row in rows[name]} & later
        kept[name] = tuple(row for row in rows[name] if groups[row] not in shared or cut.leaking != "drop")
        later |= {groups[row] for row in rows[name]}
        if shared:
            log.warning(
                "%s has %d images of %d groups that are in later splits, too, such as %s: %s",
                name,
                sum(groups[row] in shared for row in rows[name]),
                len(shared),
                min(shared),
                "they are left out" if cut.leaking == "drop" else "a classifier is tested on what it was fitted to",
            )
    return {name: kept[name] for name in SPLITS}


def _complete(
    rows: dict[str, tuple[int, ...]], groups: Sequence[str], labels: Tensor, cut: Cut
) -> dict[str, tuple[int, ...]]:
    """Add val to the given splits, cut from train if no row has it; of test alone, nothing can be fitted to it."""
    if not rows["test"] or (rows["val"] and not rows["train"]):
        present = ", ".join(name for name in SPLITS if rows[name])
        raise ValueError(
            f"splits must be train, val and test, train and test, or test alone, got {present}. Give each image one of "
            "these, or none to have them cut."
        )
    if rows["train"] and not rows["val"]:
        train = rows["train"]
        fitted = split_groups([groups[row] for row in train], labels.numpy()[list(train)], cut.val, 0, cut.seed)
        rows = rows | {name: tuple(train[row] for row in fitted[name]) for name in ("train", "val")}
        if not rows["val"]:
            raise ValueError(
                f"val must have an image, but a share of {cut.val:g} of {len(set(groups[row] for row in train)):,} "
                "groups is none. Set dataset.val_fraction."
            )
    return rows
