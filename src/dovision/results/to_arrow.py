"""Conversion of tensors of one batch in one condition to rows of the two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional import effects
from dovision.functional.norms import size
from dovision.results.tables import effects_schema, repeated, samples_schema, success
from dovision.types import Batch, Box, Task


class CleanImages(NamedTuple):
    """Clean images of an attacked batch, with the attacked label and the logits after rounding to 8 bits."""

    image: Tensor  # (B, C, H, W) in [0, 1]
    correct: Tensor  # (B,) bool, from Task.correct
    aim: Tensor | None = None  # what is attacked, as shaped as labels: these, or a prediction; None: the labels
    logits_8bit: Tensor | None = None  # (B, K) of the attacked images rounded to 8 bits


def sample_columns(
    *,
    condition: str,
    eps: float,
    batch: Batch,
    names: Sequence[str],
    task: Task,
    logits: Tensor,
    means: Mapping[str, Tensor],
    clean: CleanImages | None = None,
) -> pa.RecordBatch:
    """Columns of samples.parquet for one batch in one condition.

    Args:
        condition, eps: the condition's name and its epsilon in pixel units; "clean" and 0 for the images as they are.
        batch: the images of the condition, attacked where it is an attacked one.
        names: a name per image, B of them.
        logits: of the classifier under test, shape (B, K), in the condition.
        means: from `mean_effects`, in the same condition.
        clean: the same images before the attack; None in the clean condition. The attack on an image without a label
            succeeds if it changes what is predicted.

    Returns:
        B rows of `samples_schema(task)`.
    """
    probability = task.probability(logits.detach().float().cpu())
    label = batch.label.cpu()
    labelled = task.is_known(label)
    aim = label if clean is None or clean.aim is None else clean.aim.cpu()
    delta = torch.zeros_like(batch.image) if clean is None else batch.image - clean.image
    columns = {
        "sample": batch.sample.cpu().numpy(),
        "name": pa.array(list(names), pa.string()),
        "group": batch.group.cpu().numpy(),
        "condition": repeated(condition, len(label)),
        "eps": np.full(len(label), eps),
        "label": _as_column(label, task),
        "prediction": _as_column(task.prediction(probability), task),
        "probability": probability.amax(-1).numpy(),
        "probabilities": _listed(probability),
        "logits": _listed(logits.detach().float().cpu()),
        "entropy": task_entropy(probability, task).numpy(),
        "margin": probability_margin(probability, task).numpy(),
        "correct": pa.array(task.correct(probability, label).numpy(), mask=~labelled.numpy()),
        "success": _success(logits, aim, task, clean),
        "success_8bit": _success(clean and clean.logits_8bit, aim, task, clean),
        "linf": size(delta, "linf").float().cpu().numpy(),
        "l2": size(delta, "l2").float().cpu().numpy(),
    }
    columns |= {name: values.numpy() for name, values in means.items()}
    return pa.RecordBatch.from_pydict(columns, schema=samples_schema(task))


def effect_columns(
    *,
    condition: str,
    sample: Tensor,
    units: Sequence[str],
    task: Task,
    control_logits: Tensor,
    treated_logits: Tensor,
    regions: Sequence[Sequence[Box | None]],
) -> pa.RecordBatch:
    """Columns of effects.parquet for one batch in one condition.

    Args:
        condition: the condition's name.
        sample: row numbers in the split, shape (B,).
        units: names of the U units.
        control_logits, treated_logits: shapes (B, K) and (B, U, K), in the condition.
        regions: per sample and unit what is touched, in pixels of the image; None where a unit has no place in it.

    Returns:
        B * U * K rows of `effects_schema()`, ordered by sample, unit, class.

    Raises:
        ValueError: the shapes do not fit.
    """
    expected = (len(sample), len(units), len(task.classes))
    if tuple(treated_logits.shape) != expected:
        raise ValueError(f"treated_logits must have shape (B, U, K) = {expected}, got {tuple(treated_logits.shape)}.")
    columns = _names(condition, sample, units, task.classes)
    numbers = _effects(control_logits, treated_logits, task)
    columns |= {name: value.reshape(-1).numpy() for name, value in numbers.items()}
    columns |= _edges(regions, len(task.classes))
    return pa.RecordBatch.from_pydict(columns, schema=effects_schema())


def touched(regions: Sequence[Sequence[Box | None]]) -> Tensor:
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


def mean_effects(
    control_logits: Tensor, treated_logits: Tensor, task: Task, done: Tensor | None = None
) -> dict[str, Tensor]:
    """Means over acting units, and for multilabel over labels; nan without such units.

    Args:
        control_logits, treated_logits: shapes (B, K) and (B, U, K).
        done: (B, U) bool; None is all.

    Returns:
        mean_abs_expected_effect, of |expected effect|, and mean_expected_logit_effect, each of shape (B,) float32.
    """
    numbers = _effects(control_logits, treated_logits, task)
    return {
        "mean_abs_expected_effect": effects.mean_over_units(numbers["expected_effect"].abs(), done),
        "mean_expected_logit_effect": effects.mean_over_units(numbers["expected_logit_effect"], done),
    }


def _effects(control_logits: Tensor, treated_logits: Tensor, task: Task) -> dict[str, Tensor]:
    treated_logits = treated_logits.detach().float().cpu()
    control_logits = control_logits.detach().float().cpu().unsqueeze(1).expand_as(treated_logits)
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
        "sample": np.repeat(sample.cpu().numpy(), len(units) * number),
        "condition": repeated(condition, len(label)),
        "unit": pa.DictionaryArray.from_arrays(unit, pa.array(list(units), pa.string())),
        "class": pa.DictionaryArray.from_arrays(label, pa.array(list(classes), pa.string())),
    }


def _edges(regions: Sequence[Sequence[Box | None]], classes: int) -> dict[str, Any]:
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


def _success(logits: Tensor | None, label: Tensor, task: Task, clean: CleanImages | None) -> pa.Array:
    if clean is None or logits is None:
        return pa.nulls(len(label), pa.bool_())
    correct = task.correct(task.probability(logits.detach().float().cpu()), label)
    return success(correct, clean.correct.cpu())
