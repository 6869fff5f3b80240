"""Scores of detectors as an evaluation would leave them, drawn from a seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.results.detection_tables import (
    ADAPTIVE,
    ADAPTIVE_STEPS,
    ALL_ATTACKS,
    DETECTOR,
    NOISE,
    SCORES,
    all_but,
    leaves_out,
    scores_schema,
)
from dovision.results.tables import CLEAN, TableWriter

# detector, variant, how far it moves attacked images at the largest epsilon, how far it moves noise
MADE = [
    ("max_softmax", "as is", 1.0, 0.5),
    ("feature_squeezing", "as is", 2.0, 0.6),
    ("effect_profile", "clean only", 2.2, 1.8),
    ("effect_profile", "clean and noise", 2.0, 0.3),
    ("effect_consistency", "supervised", 3.5, 2.5),
    ("effect_consistency", "supervised, hardened", 3.2, 0.2),
]
ATTACKS = ("fgsm", "pgd")


VALIDATION = np.array(
    [*map(float, range(90))] * 3 + [94.0] * 22 + [98.0] * 8
)  # of 300 the largest, and the 9th largest
BY_HAND = {  # attack: scores of four test images of which the last is wrong when clean, and where it succeeds
    "clean": ((10.0, 20.0, 30.0, 96.0), (None,) * 4),
    "random_sign": ((15.0, 95.0, 35.0, 40.0), (False, True, False, None)),
    "pgd": ((97.0, 25.0, 99.0, 50.0), (True, True, False, None)),
    "fgsm": ((5.0, 26.0, 98.0, 60.0), (False, True, True, None)),
    "adaptive": ((1.0, 2.0, 3.0, 4.0), (True, True, True, None)),
}


def scored(
    attack: str, scores: Sequence[float], success: Sequence[bool | None] = (None,) * 4, **columns: object
) -> pd.DataFrame:
    """Rows of scores of one condition."""
    facts = {"sample": range(len(scores)), "group": range(len(scores)), "split": "test", "attack": attack, "eps": 0.1}
    facts |= {"detector": "odin", "variant": "as is", "fitted_on": "", "correct": True, "score": scores}
    turned = list(success) if len(scores) == 4 else None
    return pd.DataFrame(facts | {"success": turned} | columns).astype({"success": object})


def scored_by_hand(change: Callable[[Any], Any] = lambda scores: scores, **columns: object) -> list[pd.DataFrame]:
    """Rows of a detector in every kind of condition: validation images, and those of BY_HAND."""
    tested = [
        scored(name, change(np.array(scores)), success, **{"eps": 0.0 if name == CLEAN else 0.1} | columns)
        for name, (scores, success) in BY_HAND.items()
    ]
    return [scored("clean", change(VALIDATION), **{"eps": 0.0, "split": "val"} | columns), *tested]


def write_scores(
    folder: Path,
    images: int = 60,
    eps: Sequence[float] = (0.1, 0.2, 0.3),
    attacks: Sequence[str] = ATTACKS,
    adaptive: bool = True,
    made: Sequence[tuple[str, str, float, float]] = MADE,
    seed: int = 0,
    success: float = 0.8,
) -> pd.DataFrame:
    """Write scores.parquet into a folder and return it; `success` is the chance of an attack at the largest epsilon."""
    random = np.random.default_rng(seed)
    rows = []
    for name, variant, shift, of_noise in made:
        for fitted_on in fits(variant, attacks):
            last = (name, variant) == made[-1][:2] and fitted_on == ALL_ATTACKS
            for condition in conditions(eps, attacks, adaptive and last):
                if leaves_out(fitted_on) and condition[0] in attacks and all_but(condition[0]) != fitted_on:
                    continue
                for split in ("val", "test") if condition[0] in (CLEAN, NOISE) else ("test",):
                    move = _shift(condition, shift, of_noise, fitted_on, max(eps))
                    chance = 0.02 if condition[0] == NOISE else success * condition[1] / max(eps)
                    frame = _images(split, images, condition, move, chance, random)
                    rows.append(frame.assign(**dict(zip(DETECTOR, (name, variant, fitted_on), strict=True))))
    frame = pd.concat(rows, ignore_index=True)
    write_table(folder, frame)
    return frame


def write_detected(folder: Path, detected: Mapping[str, Mapping[str, int]], fitted: Sequence[str] = ()) -> None:
    """Write scores of which it is known by hand how many are detected, of 50 successful attacks of each family.

    Args:
        folder: of the run.
        detected: by detector and attack, how many lie above all clean images; the others lie below all.
        fitted: detectors that were fitted to all attacks, and to all but each.
    """
    parts = []
    for name, counts in detected.items():
        seen = fits("supervised, hardened" if name in fitted else "as is", list(counts))
        for fitted_on in [each for each in seen if each not in counts]:
            key = dict(zip(DETECTOR, (name, "supervised, hardened" if fitted_on else "as is", fitted_on), strict=True))
            tested = [attack for attack in counts if not leaves_out(fitted_on) or fitted_on == all_but(attack)]
            clean = [("val", CLEAN, 0.0, np.linspace(1.0, 99.0, 300)), ("test", CLEAN, 0.0, np.arange(1.0, 51.0))]
            attacked = [
                ("test", attack, 0.1, np.where(np.arange(50) < counts[attack], 200.0, -1.0)) for attack in tested
            ]
            for split, attack, eps, score in clean + attacked:
                rows = pd.DataFrame({"sample": np.arange(len(score)), "group": np.arange(len(score)), "score": score})
                won = {"correct": attack == CLEAN, "success": None if attack == CLEAN else True}
                parts.append(rows.assign(split=split, attack=attack, eps=eps, **key, **won).astype({"success": object}))
    write_table(folder, pd.concat(parts, ignore_index=True))


def fits(variant: str, attacks: Sequence[str]) -> tuple[str, ...]:
    """What a detector in a variant is fitted to."""
    left_out = tuple(map(all_but, attacks)) if len(attacks) > 1 else ()
    supervised = {"supervised": (ALL_ATTACKS,), "supervised, hardened": (*attacks, ALL_ATTACKS, *left_out)}
    return supervised.get(variant, ("",))


def conditions(eps: Sequence[float], attacks: Sequence[str], adaptive: bool) -> Iterable[tuple[str, float]]:
    """(attack, eps) of each condition."""
    yield CLEAN, 0.0
    yield from ((attack, size) for attack in (NOISE, *attacks) for size in eps)
    yield from [(ADAPTIVE, max(eps))] * adaptive


def write_table(folder: Path, frame: pd.DataFrame, *facts: Any) -> None:
    """Write rows as scores.parquet, with families, settings and norms in its schema."""
    schema = scores_schema(*facts)
    folder.mkdir(parents=True, exist_ok=True)
    with TableWriter(folder / SCORES, schema) as table:
        for batch in pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False).to_batches():
            table.write(batch)


def write_steps(folder: Path) -> None:
    """Write adaptive.parquet: four images that were right, and one that was not, in two directions of 8 steps."""
    names = dict(zip(DETECTOR, (*MADE[-1][:2], ALL_ATTACKS), strict=True))
    frame = pd.DataFrame({"sample": range(5), "group": range(5), "right": [True] * 4 + [False], "eps": 0.3, "steps": 8})
    frame = frame.assign(attack=ADAPTIVE, starts=1, rounded=[True, True, False, False, True])
    found = {"weighted": [0, 3, None, None, 0], "selective": [6, 4, 5, None, 0]}
    schema = ADAPTIVE_STEPS.schema()
    with TableWriter(folder / ADAPTIVE_STEPS, schema) as table:
        for name, first in found.items():
            start = [None if one is None else 0 for one in first]
            part = frame.assign(**names, direction=name, first=first, start=start)[schema.names]
            for batch in pa.Table.from_pandas(part, schema, preserve_index=False).to_batches():
                table.write(batch)


def _shift(condition: tuple[str, float], attacked: float, of_noise: float, fitted_on: str, largest: float) -> float:
    attack, size = condition
    if attack == ADAPTIVE:
        return attacked / 10
    unseen = 0.6 if leaves_out(fitted_on) or (fitted_on in ATTACKS and fitted_on != attack) else 1.0
    moved = of_noise if attack == NOISE else attacked * unseen * (0.9 if attack == "fgsm" else 1.0)
    return float(moved * np.sqrt(size / largest)) if size else 0.0


def _images(
    split: str, images: int, condition: tuple[str, float], move: float, chance: float, random: np.random.Generator
) -> pd.DataFrame:
    attack, size = condition
    sample = np.arange(images)
    right = sample % 20 != 0
    beaten = right & (random.random(images) < chance)
    success: list[Any] = [bool(b) if r and attack != CLEAN else None for b, r in zip(beaten, right, strict=True)]
    noise = random.normal(size=images) + (np.random.default_rng([7, split == "val"]).normal(size=images))
    return pd.DataFrame({"sample": sample, "split": split, "group": sample // 2, "attack": attack}).assign(
        eps=size, correct=right & ~beaten, success=success, score=noise + move
    )
