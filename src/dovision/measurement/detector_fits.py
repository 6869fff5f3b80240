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
from dovision.interfaces import Classifier, Detector
from dovision.io.progress import DISPLAY
from dovision.measurement.fit_protocol import FitProtocol
from dovision.results.detection_tables import (
    ALL_ATTACKS,
    CLEAN_ONLY,
    DETECTOR,
    HARDENED,
    NOISES,
    PERMUTED_LABELS,
    SCORES,
    SUPERVISED,
    SUPERVISED_HARDENED,
    TEST,
    UNFITTED,
    UNFITTED_SUM,
    VAL,
    Reads,
    all_but,
    leaves_out,
    preferred,
    read_reads,
    scores_schema,
)
from dovision.results.tables import CLEAN, TableWriter
from dovision.types import Batch

log = logging.getLogger(__name__)
FOR_THRESHOLDS = 1 / 3  # share of the validation patients that no detector is fitted to
GOLDEN = 2_654_435_769  # 2^32 by the golden ratio: its multiples, modulo 2^32, spread evenly


class Fitted(NamedTuple):
    """Fitted detector; `fitted_on` names the attacks of a supervised fit."""

    name: str
    variant: str
    fitted_on: str
    detector: Detector

    def rows(self, images: pd.DataFrame, score: Tensor) -> pa.RecordBatch:
        """Rows of scores.parquet for images in their conditions."""
        columns = dict(zip(DETECTOR, self[:3], strict=True))
        return SCORES.from_frame(images.assign(score=score.double().cpu().numpy(), **columns))


class _FeatureSum(Detector):
    """Unfitted sum of the features of a monotone detector."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        return self.detector.read(batch, classifier)

    def score_features(self, features: Tensor) -> Tensor:
        total = self.detector.sum_features(features)
        assert total is not None
        return total


class _Fit(NamedTuple):
    """Planned fit of a detector."""

    variant: str
    fitted_on: str
    clean: Tensor  # features, (N, F)
    attacked: Tensor  # (M, F)


def fit_detectors(folder: Path, detectors: Mapping[str, Detector], protocol: FitProtocol) -> list[Fitted]:
    """Fit every detector, in its variants, to validation images not reserved for thresholds.

    as is                   has nothing to fit
    clean only              fitted to clean images
    clean and noise         the same, hardened: images with noise, in any norm, are clean, too
    supervised              fitted to clean images, and to those on which an attack succeeded
    supervised, hardened    the same, and images with noise are clean

    A supervised detector is fitted to each family of attacks, to all, and to all but each family; where there is noise,
    the fit to all alone is not hardened as well. The controls of a fit are one to all attacks whose labels, clean or
    attacked, are permuted; and, of a monotone detector, the sum of its features.

    The detectors stay as they are.

    Raises:
        ValueError: no validation image was read, or one of a patient that is tested on; or all detectors are
            supervised, and no attack succeeded on the images that they would be fitted to.
    """
    tracked = DISPLAY.track(detectors.items(), "detector fits", "detectors", len(detectors))
    fits = [fit for name, detector in tracked for fit in _variants(folder, name, detector, protocol)]
    if not fits:
        raise ValueError(
            f"supervised detectors ({', '.join(detectors)}) need at least 2 validation images on which an attack "
            "succeeds, got fewer for each attack. Raise the eps of the attacks or detection.val_images, or add a "
            "detector that is not fitted to attacked images, such as max_softmax."
        )
    return fits


def shown(fits: Sequence[Fitted]) -> list[Fitted]:
    """Fit of each detector that figures show."""
    names = pd.DataFrame([(fitted.name, fitted.variant, fitted.fitted_on) for fitted in fits], columns=DETECTOR)
    return [fits[number] for number in preferred(names).index]


def clean_threshold(folder: Path, fitted: Fitted, rate: float) -> float:
    """Threshold (see `functional.detection.threshold`) on clean images reserved from fits.

    The highest of their scores where they are too few for one.
    """
    scores = []
    for reads in read_reads(folder, fitted.name):
        images = reads.images
        chosen = (images["split"] == VAL) & (images["attack"] == CLEAN) & for_thresholds(images["group"])
        scores.append(fitted.detector.score(reads.chosen(chosen)))
    clean = torch.cat(scores).double().cpu().numpy()
    limit = threshold(clean, rate)
    return float(clean.max()) if np.isnan(limit) else limit


def for_thresholds(group: pd.Series[int]) -> pd.Series[bool]:
    """Mask of patients reserved for thresholds, since scores of fitted images are too low."""
    return hash_fraction(group) < FOR_THRESHOLDS


def hash_fraction(group: pd.Series[int]) -> pd.Series[float]:
    """Number in [0, 1) of each patient; those of the first N patients are spread evenly."""
    return group * GOLDEN % 2**32 / 2**32


def write_scores(
    folder: Path,
    fits: Collection[Fitted],
    protocol: FitProtocol,
    adaptive: Iterable[pa.RecordBatch | pa.Table],
    reads: Path | None = None,
) -> None:
    """Write scores.parquet: every fit's scores of test images, and of clean and noisy images for thresholds.

    A fit to all but one family scores that family alone, beside clean images and noise. Rows of the adaptive attacker,
    who needs the fits, come last. The tables of what was read lie in `reads`, or in the same folder.
    """
    of_reads = reads or folder
    tuned = {  # such as "step=0.002, layers=[0, 2]"
        fitted[:3]: ", ".join(f"{name}={f'{x:g}' if isinstance(x, float) else x}" for name, x in values.items())
        for fitted in fits
        if (values := fitted.detector.tuned)
    }
    with TableWriter(folder / SCORES, scores_schema(protocol.family, tuned, protocol.norms)) as table:
        names = list(dict.fromkeys(fitted.name for fitted in fits))
        for name in names:
            for rows in _scores(of_reads, name, fits, protocol):
                table.write(rows)
        for rows in adaptive:
            table.write(rows)


def _scores(folder: Path, name: str, fits: Collection[Fitted], protocol: FitProtocol) -> Iterator[pa.RecordBatch]:
    """Rows of all fits of a detector."""
    for reads in read_reads(folder, name):
        images = reads.images
        reserved = images["attack"].isin((CLEAN, *NOISES)) & for_thresholds(images["group"])
        usable = (images["split"] == TEST) | reserved
        for fitted in (fitted for fitted in fits if fitted.name == name):
            rows, family = usable, images["attack"].map(protocol.family)
            if leaves_out(fitted.fitted_on):
                rows = usable & (family.isna() | (family.map(all_but, na_action="ignore") == fitted.fitted_on))
            if rows.any():
                yield fitted.rows(images[rows], fitted.detector.score(reads.chosen(rows)))


def _variants(folder: Path, name: str, detector: Detector, protocol: FitProtocol) -> Iterator[Fitted]:
    val = _validation(folder, name)
    if not detector.needs_fit:
        yield Fitted(name, UNFITTED, "", detector)
        return
    fits = _fits(detector, val, protocol)
    for fit in fits:
        fitted = copy.copy(detector)
        fitted.fit(fit.clean, fit.attacked)
        yield Fitted(name, fit.variant, fit.fitted_on, fitted)
    if protocol.controls and fits and detector.sum_features(val.read[:1]) is not None:
        yield Fitted(name, UNFITTED_SUM, "", _FeatureSum(detector))


def _fits(detector: Detector, val: Reads, protocol: FitProtocol) -> list[_Fit]:
    clean, noise = (val.chosen(val.images["attack"].isin(names)) for names in ((CLEAN,), NOISES))
    hardened = torch.cat([clean, noise]) if len(noise) else None
    if detector.supervised:
        fits = list(_supervised_fits(_beaten(val, protocol), clean, hardened))
        return fits + (list(_control_fits(val, protocol)) if protocol.controls and fits else [])
    fits = [_Fit(CLEAN_ONLY, "", clean, clean[:0])]
    return fits if hardened is None else [*fits, _Fit(HARDENED, "", hardened, clean[:0])]


def _supervised_fits(beaten: Mapping[str, Tensor], clean: Tensor, hardened: Tensor | None) -> Iterator[_Fit]:
    """Fits of a supervised detector to beaten images, by family; `hardened` are clean images and noise, if any."""
    if not beaten:
        return
    whole = torch.cat(list(beaten.values()))
    several = len(beaten) > 1
    widest_fit = ALL_ATTACKS if several else next(iter(beaten))
    yield _Fit(SUPERVISED, widest_fit, clean, whole)
    if hardened is not None:
        yield _Fit(SUPERVISED_HARDENED, widest_fit, hardened, whole)
    variant, images = (SUPERVISED, clean) if hardened is None else (SUPERVISED_HARDENED, hardened)
    for family, attacked in beaten.items() if several else ():
        yield _Fit(variant, family, images, attacked)
        others = torch.cat([rows for name, rows in beaten.items() if name != family])
        yield _Fit(variant, all_but(family), images, others)


def _control_fits(val: Reads, protocol: FitProtocol) -> Iterator[_Fit]:
    """Fit to clean and attacked images whose labels are permuted; none of too few."""
    clean, beaten = val.images["attack"] == CLEAN, _won(val.images, protocol)
    if min(clean.sum(), beaten.sum()) > 1:
        rows = torch.cat([val.chosen(clean), val.chosen(beaten)])
        rows = rows[np.random.default_rng(0).permutation(len(rows))]
        yield _Fit(SUPERVISED, PERMUTED_LABELS, rows[: clean.sum()], rows[clean.sum() :])


def _validation(folder: Path, name: str) -> Reads:
    """Features of the images to fit to; raises if a patient is also tested on."""
    frames, features, validated, tested = [], [], set[int](), set[int]()
    for reads in read_reads(folder, name):
        val = reads.images["split"] == VAL
        chosen = val & ~for_thresholds(reads.images["group"])
        frames.append(reads.images[chosen])
        features.append(reads.chosen(chosen))
        validated.update(reads.images.loc[val, "group"])
        tested.update(reads.images.loc[~val, "group"])
    images = pd.concat(frames, ignore_index=True)
    if images.empty:
        raise ValueError(
            "a detector is fitted on validation images, got none. Give at least some hundreds (detection.val_images)."
        )
    shared = validated & tested
    if shared:
        raise ValueError(
            f"a detector must not be fitted to whom it is tested on, got {len(shared):,} patients (groups) with images "
            "in val and in test. Cut the splits by patient."
        )
    return Reads(images, torch.cat(features))


def _beaten(val: Reads, protocol: FitProtocol) -> dict[str, Tensor]:
    """Features of successfully attacked images, at epsilons that fits may see, by family."""
    images = val.images
    won = _won(images, protocol)
    family = images["attack"].map(protocol.family)
    beaten = {name: val.chosen(won & (family == name)) for name in family.dropna().unique()}
    for name in [name for name, read in beaten.items() if len(read) < 2]:
        log.warning("the attacks of %s beat fewer than 2 validation images; no detector is fitted to them", name)
        del beaten[name]
    return beaten


def _won(images: pd.DataFrame, protocol: FitProtocol) -> pd.Series[bool]:
    """Mask of successfully attacked images at epsilons that fits may see."""
    seen = [protocol.sees(attack, eps) for attack, eps in zip(images["attack"], images["eps"], strict=True)]
    won = images["success"].fillna(False).astype(bool)
    return won & pd.Series(seen, images.index, dtype=bool)
