"""Condition: a batch of images as they are or attacked, and its rows in the tables of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional import effects
from dovision.functional.logit_checks import measurable
from dovision.functional.norms import condition_name, size
from dovision.propagation import Outcome
from dovision.results.detection_tables import ATTACKS, READS
from dovision.results.tables import CLEAN, effects_schema, repeated, samples_schema, success
from dovision.types import Batch, Box, Task

Regions = Sequence[Sequence[Box | None]]  # by image and unit what is touched; None where a unit has no place


class Condition(NamedTuple):
    """Images of a batch in one condition, clean or attacked at one epsilon, with the classifier's results."""

    attack: str  # its name; CLEAN for the images as they are
    eps: float
    batch: Batch  # an attacked one has what is attacked as its labels: these, or, where they are not known, predictions
    logits: Tensor  # (B, K) float32 of the classifier under test, on the CPU
    correct: Tensor  # (B,) bool

    @property
    def name(self) -> str:
        """Name of the condition in the effects table."""
        return CLEAN if self.attack == CLEAN else condition_name(self.eps)


def on_cpu(outcome: Outcome) -> Outcome:
    """The outcome on the CPU, by a single copy; errors as of `measurable`."""
    logits = torch.cat([outcome.control.unsqueeze(1), outcome.treated], 1)
    logits = measurable(logits, "logits after the intervention")
    return outcome._replace(control=logits[:, 0], treated=logits[:, 1:])


def read_rows(split: str, condition: Condition, clean: Condition, read: Tensor) -> pa.RecordBatch:
    """Rows of a detector's table, from its reads, shape (B, F)."""
    columns = _of_split(split, condition, clean) | {"read": _listed(read)}
    return pa.RecordBatch.from_pydict(columns, schema=READS.schema())


def attack_rows(split: str, condition: Condition, clean: Condition, correct_8bit: Tensor) -> pa.RecordBatch:
    """Rows of attacks.parquet; `correct_8bit`, shape (B,), refers to images rounded to 8 bits."""
    columns = _of_split(split, condition, clean) | _strength(condition, clean, correct_8bit)
    schema = ATTACKS.schema()
    return pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def sample_rows(
    condition: Condition,
    clean: Condition,
    outcome: Outcome,
    done: Tensor,
    names: Sequence[str],
    task: Task,
    correct_8bit: Tensor | None = None,
) -> pa.RecordBatch:
    """Rows of samples.parquet.

    Args:
        condition: the images in it.
        clean: the same images as they are, with their labels; `condition` itself if that is clean.
        outcome: of the units in the condition.
        done: whether a unit acts on an image, shape (B, U) bool.
        names: a name per image, B of them.
        task: the classes.
        correct_8bit: as of `attack_rows`; None of clean images.
    """
    logits, label = condition.logits, clean.batch.label
    probability, numbers = task.probability(logits), _effects(outcome, task)
    columns = _columns(condition, clean) | {
        "name": pa.array(list(names), pa.string()),
        "condition": repeated(condition.name, len(label)),
        "label": _as_column(label, task),
        "prediction": _as_column(task.prediction(probability), task),
        "probability": probability.amax(-1).numpy(),
        "probabilities": _listed(probability),
        "logits": _listed(logits),
        "entropy": task_entropy(probability, task).numpy(),
        "margin": probability_margin(probability, task).numpy(),
        "correct": pa.array(condition.correct.numpy(), mask=~task.is_known(label).numpy()),
        "mean_abs_expected_effect": effects.mean_over_units(numbers["expected_effect"].abs(), done).numpy(),
        "mean_expected_logit_effect": effects.mean_over_units(numbers["expected_logit_effect"], done).numpy(),
        **_strength(condition, clean, correct_8bit),
    }
    return pa.RecordBatch.from_pydict(columns, schema=samples_schema(task))


def effect_rows(condition: str, sample: Tensor, outcome: Outcome, regions: Regions, task: Task) -> pa.RecordBatch:
    """Rows of effects.parquet, B * U * K, ordered by sample, unit, class.

    Args:
        condition: its name.
        sample: row numbers in the split, shape (B,).
        outcome: of the units in the condition.
        regions: of each sample and unit, in pixels of the image.
        task: the classes.

    Raises:
        ValueError: the shapes do not fit.
    """
    expected = (len(sample), len(outcome.units), len(task.classes))
    if tuple(outcome.treated.shape) != expected:
        raise ValueError(f"treated must have shape (B, U, K) = {expected}, got {tuple(outcome.treated.shape)}.")
    columns = _names(condition, sample, outcome.units, task.classes)
    columns |= {name: value.reshape(-1).numpy() for name, value in _effects(outcome, task).items()}
    columns |= _edges(regions, len(task.classes))
    return pa.RecordBatch.from_pydict(columns, schema=effects_schema())


def touched(regions: Regions) -> Tensor:
    """Return whether each unit has a non-empty region in each sample, shape (B, U) bool."""
    return torch.tensor([[box is None or box.area > 0 for box in row] for row in regions])


def by_sample(conditions: Sequence[pa.RecordBatch], images: int) -> pa.RecordBatch:
    """Interleave rows of several conditions, each of as many rows an image, image by image."""
    ends = np.cumsum([len(rows) for rows in conditions])
    places = [rows.reshape(images, -1) for rows in np.split(np.arange(ends[-1]), ends[:-1])]
    order = np.concatenate(places, axis=1).reshape(-1)
    table = pa.Table.from_batches(conditions).unify_dictionaries().combine_chunks().take(order)
    return table.combine_chunks().to_batches()[0]


def task_entropy(probability: Tensor, task: Task) -> Tensor:
    """Entropy of the prediction in nats, shape (B,); for multilabel summed over labels."""
    total = torch.special.entr(probability).sum(-1)
    return total + torch.special.entr(1 - probability).sum(-1) if task.multilabel else total


def probability_margin(probability: Tensor, task: Task) -> Tensor:
    """Margin of the prediction, shape (B,): top minus second; multilabel: smallest 2 |P - threshold|."""
    if task.multilabel:
        return (2 * (probability - probability.new_tensor(task.thresholds or 0.5)).abs()).amin(-1)
    top = probability.topk(2).values
    return top[:, 0] - top[:, 1]


def _columns(condition: Condition, clean: Condition) -> dict[str, Any]:
    count = len(condition.correct)
    return {
        "sample": condition.batch.sample.numpy(),
        "group": condition.batch.group.numpy(),
        "eps": np.full(count, condition.eps),
        "correct": condition.correct.numpy(),
        "success": pa.nulls(count, pa.bool_()) if condition is clean else success(condition.correct, clean.correct),
    }


def _of_split(split: str, condition: Condition, clean: Condition) -> dict[str, Any]:
    count = len(condition.correct)
    return _columns(condition, clean) | {"split": repeated(split, count), "attack": repeated(condition.attack, count)}


def _strength(condition: Condition, clean: Condition, correct_8bit: Tensor | None) -> dict[str, Any]:
    """Norms of attacked minus clean image, and success after rounding to 8 bits."""
    linf, l2 = np.zeros((2, len(clean.correct)), np.float32)
    if condition is not clean:
        delta = condition.batch.image - clean.batch.image
        linf, l2 = torch.stack([size(delta, norm) for norm in ("linf", "l2")]).float().cpu().numpy()
    nothing = pa.nulls(len(linf), pa.bool_())
    succeeded = nothing if correct_8bit is None else success(correct_8bit, clean.correct)
    return {"linf": linf, "l2": l2, "success_8bit": succeeded}


def _effects(outcome: Outcome, task: Task) -> dict[str, Tensor]:
    treated_logits = outcome.treated.detach().float().cpu()
    control_logits = outcome.control.detach().float().cpu().unsqueeze(1).expand_as(treated_logits)
    control, treated = task.probability(control_logits), task.probability(treated_logits)
    effect = effects.effect(treated, control)
    return {
        "control": control,
        "treated": treated,
        "effect": effect,
        "log_odds_effect": effects.log_odds_effect(treated_logits, control_logits, task),
        "expected_effect": effects.expected_effect(effect, control, task),
        "expected_logit_effect": effects.expected_logit_effect(treated_logits, control_logits, task),
        "divergence": effects.divergence(control_logits, treated_logits, task),
    }


def _names(condition: str, sample: Tensor, units: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    images, number = len(sample), len(classes)
    unit = np.tile(np.repeat(np.arange(len(units), dtype=np.int32), number), images)
    label = np.tile(np.arange(number, dtype=np.int32), images * len(units))
    return {
        "sample": np.repeat(sample.numpy(), len(units) * number),
        "condition": repeated(condition, len(label)),
        "unit": pa.DictionaryArray.from_arrays(unit, pa.array(list(units), pa.string())),
        "class": pa.DictionaryArray.from_arrays(label, pa.array(list(classes), pa.string())),
    }


def _edges(regions: Regions, classes: int) -> dict[str, Any]:
    flat = [box for row in regions for box in row]
    missing = np.repeat([box is None for box in flat], classes)
    edges = np.repeat(np.array([box or (0, 0, 0, 0) for box in flat], dtype=np.int32).reshape(-1, 4), classes, axis=0)
    return {name: pa.array(edges[:, i], mask=missing) for i, name in enumerate(Box._fields)}


def _as_column(label: Tensor, task: Task) -> pa.Array:
    if not task.multilabel:
        return pa.array(label.numpy())
    return _listed(label.nan_to_num(nan=-1).to(torch.int8))


def _listed(values: Tensor) -> pa.ListArray:
    """List column from values of shape (B, K)."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.reshape(-1).numpy())
