"""Copies of one file in a dataset: pictures that are equal byte for byte."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pandas as pd

from dovision import checks

log = logging.getLogger(__name__)


def check_copies(
    digests: Sequence[bytes], records: pd.DataFrame, rows: Mapping[str, Sequence[int]], allowed: str
) -> None:
    """Refuse files of equal bytes in two splits, and warn of those of two groups in one split.

    Args:
        digests: of each record's file; empty ones are not compared.
        records: with the columns name and group.
        rows: of each split, the places of its records.
        allowed: error, or warn, of copies in two splits.

    Raises:
        ValueError: there are copies in two splits.
    """
    refuse = checks.choice("copies", allowed, ("error", "warn")) == "error"
    split = {row: name for name, own in rows.items() for row in own}
    places: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest and row in split:
            places.setdefault(digest, []).append(row)
    copies = [own for own in places.values() if len(own) > 1]
    names, groups = records["name"].tolist(), records["group"].tolist()
    across: list[list[int]] = []
    together: list[list[int]] = []
    for own in copies:
        (across if len({split[row] for row in own}) > 1 else together).append(own)
    if across:
        one = across[0][0]
        other = next(row for row in across[0] if split[row] != split[one])
        found = (
            f"{len(across)} of other splits have the same bytes, such as {names[one]} ({split[one]}) and "
            f"{names[other]} ({split[other]})"
        )
        if refuse:
            raise ValueError(
                f"an image must be in one split, but {found}. Remove the copies, or give them one group or patient; or "
                "set dataset.copies=warn."
            )
        log.warning("images are in two splits: %s, so that a classifier is tested on what it was fitted to", found)
    within = [own for own in together if len({groups[row] for row in own}) > 1]
    if within:
        log.warning(
            "%d images have the same bytes as another one of another group or patient, such as %s and %s: they count "
            "as independent in intervals",
            sum(map(len, within)) - len(within),
            *(names[row] for row in within[0][:2]),
        )
