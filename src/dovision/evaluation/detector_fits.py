"""Detectors fitted on validation images, in every fair variant, and their scores on the test images."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional.detection import threshold
from dovision.interfaces import Detector
from dovision.runtime.progress import DISPLAY
from dovision.store.detection_tables import (
    ALL_ATTACKS,
    CLEAN_ONLY,
    DETECTOR,
    HARDENED,
    NOISE,
    SCORES,
    SUPERVISED,
    SUPERVISED_HARDENED,
    TEST,
    UNFITTED,
    VAL,
    Reads,
    preferred,
    read_reads,
    scores_schema,
)
from dovision.store.tables import CLEAN, TableWriter

log = logging.getLogger(__name__)
FOR_THRESHOLDS = 1 / 3  # share of the validation patients that no detector is fitted to
GOLDEN = 2_654_435_769  # 2^32 by the golden ratio: its multiples, modulo 2^32, spread evenly


class Fitted(NamedTuple):
    """A detector as it was fitted; `fitted_on` names the attack that a supervised one has seen."""

    name: str
    variant: str
    fitted_on: str
    detector: Detector

    def rows(self, facts: pd.DataFrame, score: Tensor) -> pa.RecordBatch:
        """Rows of scores.parquet, for images of these facts."""
        columns = dict(zip(DETECTOR, self[:3], strict=True))
        frame = facts.assign(score=score.double().cpu().numpy(), **columns)
        table = pa.Table.from_pandas(frame[scores_schema().names], scores_schema(), preserve_index=False)
        return table.combine_chunks().to_batches()[0]


def fit_detectors(folder: Path, detectors: Mapping[str, Detector], failed: Collection[str]) -> list[Fitted]:
    """Every detector in its variants, fitted to what was read of the validation images not reserved for thresholds.

    as is                   has nothing to fit
    clean only              fitted to clean images
    clean and noise         the same, hardened: images with random signs added are clean, too
    supervised              fitted to clean images, and to those on which one attack, or any, succeeded
    supervised, hardened    the same, and images with random signs added are clean

    Args:
        folder: the run directory, with the tables of what was read.
        detectors: by name; they stay as they are.
        failed: attacks that are left out.

    Raises:
        ValueError: no validation image was read, or one of a patient that is tested on; or all detectors are
            supervised, and no attack succeeded on the images that they would be fitted to.
    """
    each = DISPLAY.track(detectors.items(), "detector fits", "detectors", len(detectors))
    fits = [fitted for name, detector in each for fitted in _variants(folder, name, detector, failed)]
    if not fits:
        raise ValueError(
            f"supervised detectors ({', '.join(detectors)}) need at least 2 validation images on which an attack "
            "succeeds, got fewer for each attack. Raise the eps of the attacks or detection.val_images, or add a "
            "detector that is not fitted to attacked images: detector=[max_softmax]."
        )
    return fits


def shown(fits: Sequence[Fitted]) -> list[Fitted]:
    """One fit of each detector: that which figures show, since it has most reason to hold."""
    names = pd.DataFrame([(fitted.name, fitted.variant, fitted.fitted_on) for fitted in fits], columns=DETECTOR)
    return [fits[number] for number in preferred(names).index]


def clean_threshold(folder: Path, fitted: Fitted, rate: float) -> float:
    """The score above which lies a share `rate` of the clean validation images that no detector was fitted to.

    The highest of their scores where that share is less than one image.
    """
    scores = []
    for reads in read_reads(folder, fitted.name):
        facts = reads.facts
        chosen = (facts["split"] == VAL) & (facts["attack"] == CLEAN) & for_thresholds(facts["group"])
        scores.append(fitted.detector.score(reads.chosen(chosen)))
    clean = torch.cat(scores).double().cpu().numpy()
    limit = threshold(clean, rate)
    return float(clean.max()) if np.isnan(limit) else limit


def for_thresholds(group: pd.Series[int]) -> pd.Series[bool]:
    """Mask of patients whose validation images set thresholds: a detector rejects few of those it is fitted to."""
    return (group * GOLDEN % 2**32) < FOR_THRESHOLDS * 2**32


def write_scores(
    folder: Path, fits: Collection[Fitted], failed: Collection[str], adaptive: Iterable[pa.RecordBatch]
) -> None:
    """Write scores.parquet: every fit on the test images in each condition, and on clean and noisy ones for thresholds.

    Rows of the adaptive attacker, who needs the fits, come last.
    """
    with TableWriter(folder / SCORES, scores_schema()) as table:
        for name in dict.fromkeys(fitted.name for fitted in fits):
            for reads in read_reads(folder, name):
                facts = reads.facts
                reserved = facts["attack"].isin((CLEAN, NOISE)) & for_thresholds(facts["group"])
                chosen = ((facts["split"] == TEST) | reserved) & ~facts["attack"].isin(failed)
                for fitted in fits:
                    if fitted.name == name and chosen.any():
                        table.write(fitted.rows(facts[chosen], fitted.detector.score(reads.chosen(chosen))))
        for rows in adaptive:
            table.write(rows)


def _variants(folder: Path, name: str, detector: Detector, failed: Collection[str]) -> Iterator[Fitted]:
    val = _validation(folder, name)
    clean, noise = (val.chosen(val.facts["attack"] == attack) for attack in (CLEAN, NOISE))
    nothing = clean[:0]
    kinds = [(CLEAN_ONLY, SUPERVISED, clean)]
    if len(noise):
        kinds.append((HARDENED, SUPERVISED_HARDENED, torch.cat([clean, noise])))
    if not detector.needs_fit:
        yield Fitted(name, UNFITTED, "", detector)
    elif not detector.supervised:
        for variant, _, images in kinds:
            yield Fitted(name, variant, "", _fitted(detector, images, nothing))
    else:
        for attack, beaten in _beaten(val, failed).items():
            for _, variant, images in kinds:
                yield Fitted(name, variant, attack, _fitted(detector, images, beaten))


def _validation(folder: Path, name: str) -> Reads:
    """Features of the images to be fitted to; none of them may be of a patient that is tested on."""
    parts, validated, tested = [], set[int](), set[int]()
    for reads in read_reads(folder, name):
        val = reads.facts["split"] == VAL
        own = val & ~for_thresholds(reads.facts["group"])
        parts.append(Reads(reads.facts[own], reads.chosen(own)))
        validated.update(reads.facts.loc[val, "group"])
        tested.update(reads.facts.loc[~val, "group"])
    facts = pd.concat([part.facts for part in parts], ignore_index=True)
    if facts.empty:
        raise ValueError(
            "a detector is fitted on validation images, got none. Set detection.val_images to at least some hundreds."
        )
    shared = validated & tested
    if shared:
        raise ValueError(
            f"a detector must not be fitted to whom it is tested on, got {len(shared):,} patients (groups) with images "
            "in val and in test. Cut the splits by patient."
        )
    return Reads(facts, torch.cat([part.read for part in parts]))


def _beaten(val: Reads, failed: Collection[str]) -> dict[str, Tensor]:
    """Features of the images on which an attack succeeded, by attack, and of all of them."""
    facts = val.facts
    attacks = [a for a in dict.fromkeys(facts["attack"]) if a not in (CLEAN, NOISE) and a not in failed]
    won = facts["success"].fillna(False).astype(bool)
    beaten = {attack: val.chosen(won & (facts["attack"] == attack)) for attack in attacks}
    for attack in [attack for attack, read in beaten.items() if len(read) < 2]:
        log.warning("the attack %s beat fewer than 2 validation images; no detector is fitted to it", attack)
        del beaten[attack]
    return beaten | ({ALL_ATTACKS: torch.cat(list(beaten.values()))} if len(beaten) > 1 else {})


def _fitted(detector: Detector, clean: Tensor, attacked: Tensor) -> Detector:
    own = copy.copy(detector)
    own.fit(clean, attacked)
    return own
