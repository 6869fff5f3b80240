"""Each metric against scikit-learn or numpy, in any split of the batches over two processes, and in its example."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score, recall_score, roc_auc_score
from torchmetrics import Metric, SumMetric

import dovision as dv
from dovision.functional.detection import Scored, auroc
from dovision.metrics import (
    AttackSuccess,
    AverageEffect,
    DetectionAUROC,
    EnergyInBox,
    MeanAbsoluteExpectedEffect,
    PointingGame,
    ReconstructionQuality,
    RobustAccuracy,
)
from dovision.types import Box
from two_processes import TwoProcesses

IMAGES, UNITS, CLASSES = 12, 3, 2
SIDE = 8  # pixels; the maps have 4 x 4 cells of 2 x 2 pixels


class Case(NamedTuple):
    """A metric, the arguments of its update for IMAGES images, and the number that it should compute."""

    metric: Metric
    arguments: Callable[[np.random.Generator], tuple[Any, ...]]
    reference: Callable[..., Any]


def flags(random: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(random.random(shape) < 0.6)


def effects(random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    values = 2 * torch.from_numpy(random.random((IMAGES, UNITS, CLASSES), np.float32)) - 1
    return torch.where(flags(random, *values.shape), values, 2.0**-25), flags(random, IMAGES, UNITS)


def maps(random: np.random.Generator) -> tuple[torch.Tensor, list[list[Box]]]:
    cells = torch.from_numpy(random.integers(-2, 5, (IMAGES, 4, 4)).astype(np.float32))
    cells[0], cells[1, 0, 0] = 0, torch.nan
    corners = random.integers(0, SIDE - 3, (IMAGES, 2, 2)).tolist()
    boxes = [[Box(top, left, top + 3, left + 3) for top, left in own[: image % 3]] for image, own in enumerate(corners)]
    return cells, boxes


def average_effect(effect, done):
    values = np.where(effect.abs() < 2.0**-24, 0, effect.double())
    return [[values[done[:, unit], unit, k].mean() for k in range(CLASSES)] for unit in range(UNITS)]


def mean_size(effect, done):
    sizes = [np.abs(own[acts].numpy()).mean() for own, acts in zip(effect, done, strict=True) if acts.any()]
    return np.mean(np.where(np.array(sizes) < 2.0**-24, 0, sizes), dtype=float)


def inside(boxes: list[Box]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def pointing(cells, boxes):
    hits = []
    for own, found in zip(cells.numpy(), boxes, strict=True):
        if found and own.max() > 0:
            centres = 2 * np.argwhere(own == own.max()) + 1  # a corner of four pixels
            hits.append(
                np.mean([any(b.top <= y <= b.bottom and b.left <= x <= b.right for b in found) for y, x in centres])
            )
    return np.mean(hits)


def energy(cells, boxes):
    shares = []
    for own, found in zip(cells.numpy(), boxes, strict=True):
        pixels = np.kron(own, np.ones((2, 2))).clip(min=0)
        if found and np.isfinite(own).all() and pixels.any():
            shares.append(pixels[inside(found)].sum() / pixels.sum())
    return np.mean(shares)


def reconstructions(random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    activation, output = (torch.from_numpy(random.normal(3, 1, (IMAGES, 2))) for _ in range(2))
    return activation, output, torch.from_numpy(random.random((IMAGES, UNITS)).clip(0.9) - 0.9)


def quality(activation, output, code):
    total = r2_score(activation.numpy(), output.numpy(), multioutput="variance_weighted")
    return [total, (code != 0).sum(1).double().mean(), np.mean([not own.any() for own in code.T])]


CLEAN = torch.tensor([2.0, -1.0, 0.0, 1 / 3, 2.0, 3.0, 11.0])  # scores of clean images


def scores(random: np.random.Generator) -> tuple[torch.Tensor]:
    return (torch.from_numpy(random.integers(-3, 40, IMAGES) / 3.0).float(),)  # with ties


def area(score):
    return roc_auc_score(np.repeat([False, True], [len(CLEAN), len(score)]), torch.cat([CLEAN, score]).numpy())


CASES = {
    "AverageEffect": Case(AverageEffect(UNITS, CLASSES), effects, average_effect),
    "MeanAbsoluteExpectedEffect": Case(MeanAbsoluteExpectedEffect(), effects, mean_size),
    "AttackSuccess": Case(
        AttackSuccess(),
        lambda random: (flags(random, IMAGES), flags(random, IMAGES)),
        lambda clean, attacked: 1 - recall_score(clean, attacked),
    ),
    "RobustAccuracy": Case(
        RobustAccuracy(),
        lambda random: (flags(random, IMAGES), flags(random, IMAGES)),
        lambda clean, attacked: np.mean(clean.numpy() & attacked.numpy()),
    ),
    "PointingGame": Case(PointingGame(SIDE, SIDE, 0.0), maps, pointing),
    "EnergyInBox": Case(EnergyInBox(SIDE, SIDE), maps, energy),
    "ReconstructionQuality": Case(ReconstructionQuality(2, UNITS), reconstructions, quality),
    "DetectionAUROC": Case(DetectionAUROC(CLEAN), scores, area),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    both = TwoProcesses(tmp_path_factory.mktemp("processes"))
    yield both
    both.close()


def test_every_metric_of_the_package_is_tested():
    assert set(CASES) == set(dv.metrics.__all__)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_a_metric_is_the_reference(name, seed):
    metric, arguments, reference = CASES[name]
    given_ = arguments(np.random.default_rng(seed))
    metric = metric.clone()
    metric.update(*given_)
    np.testing.assert_allclose(metric.compute(), reference(*given_), rtol=1e-6)


# a cut after each image, and the process that takes the batch which begins with it
SPLITS = st.lists(st.tuples(st.booleans(), st.integers(0, 1)), min_size=IMAGES, max_size=IMAGES)


def shares_of(arguments: tuple[Any, ...], split: list[tuple[bool, int]]) -> tuple[list[Any], list[Any]]:
    """The batches of each process."""
    starts = [image for image, (cut, _) in enumerate(split) if cut or image == 0]
    shares: tuple[list[Any], list[Any]] = ([], [])
    for start, end in zip(starts, [*starts[1:], IMAGES], strict=True):
        shares[split[start][1]].append(tuple(argument[start:end] for argument in arguments))
    return shares


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # where one part has no images
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None)
@given(split=SPLITS)
def test_states_of_any_split_merge_to_those_of_all_images(name, split):
    metric, arguments, _ = CASES[name]
    whole = arguments(np.random.default_rng(0))
    parts = [metric.clone(), metric.clone()]
    for part, batches in zip(parts, shares_of(whole, split), strict=True):
        for batch in batches:
            part.update(*batch)
    parts[0].merge_state(parts[1])
    expected = metric.clone()
    expected.update(*whole)
    torch.testing.assert_close(parts[0].compute(), expected.compute(), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", CASES)
def test_states_are_sums_of_fixed_size(name):
    metric, arguments, _ = CASES[name]
    empty, one, other = (metric.clone() for _ in range(3))
    for seed, part in enumerate((one, other)):
        part.update(*arguments(np.random.default_rng(seed)))
    added = {state: value + other.metric_state[state] for state, value in one.metric_state.items()}
    one.merge_state(other)
    for state, value in one.metric_state.items():
        torch.testing.assert_close(value, added[state], rtol=0, atol=0)
        assert value.shape == empty.metric_state[state].shape


@pytest.mark.long
def test_two_processes_have_states_of_their_own(processes):
    shares = [[(torch.tensor([1.0, 2.0]),)], [(torch.tensor([10.0]),)]]
    assert [found.item() for found in processes.compute(SumMetric(), shares)] == [13, 13]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # of a process without images
@pytest.mark.parametrize("name", CASES)
def test_two_processes_compute_the_number_of_all_images_from_any_split(name, processes):
    metric, arguments, reference = CASES[name]
    whole = arguments(np.random.default_rng(0))

    @settings(max_examples=15, deadline=None)
    @given(split=SPLITS)
    def each_has_it(split):
        for found in processes.compute(metric.clone(), shares_of(whole, split)):
            np.testing.assert_allclose(found, reference(*whole), rtol=1e-6)

    each_has_it()


@pytest.mark.parametrize("module", ["attacks", "detection", "effects", "localization", "reconstruction"])
def test_the_examples_run_as_shown(module):
    found = doctest.testmod(importlib.import_module(f"dovision.metrics.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("name", CASES)
def test_a_metric_without_images_is_nan(name):
    metric = CASES[name].metric.clone()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().isnan().all()


def test_a_metric_begins_again_after_a_reset():
    for metric, arguments, reference in CASES.values():
        metric, own = metric.clone(), arguments(np.random.default_rng(1))
        metric.update(*arguments(np.random.default_rng(0)))
        metric.reset()
        metric.update(*own)
        np.testing.assert_allclose(metric.compute(), reference(*own), rtol=1e-6)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda: AverageEffect(2, 3).update(torch.zeros(1, 3, 3)), r"must have shape \(B, 2, 3\), got \(1, 3, 3\)"),
        (lambda: AttackSuccess().update(torch.ones(2) > 0, torch.ones(3) > 0), "same shape"),
        (lambda: DetectionAUROC([0.5]).update(torch.ones(2, 1)), r"score must have shape \(B,\), .*, got \(2, 1\)"),
        (lambda: DetectionAUROC(torch.ones(2, 2)), r"clean must have shape \(B,\), a score an image, got \(2, 2\)"),
        (lambda: PointingGame(8, 8, 1).update(torch.ones(2, 4, 4), [[]]), "one for each of the 2 maps, got 1 and 1"),
        (
            lambda: EnergyInBox(8, 8).update(torch.ones(1, 4, 4), [[]], [np.ones((4, 8), bool)]),
            r"a mask must have shape \(8, 8\), got \(4, 8\)",
        ),
        (lambda: PointingGame(8, 8, -1), "margin must be"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(update, message):
    with pytest.raises(ValueError, match=message):
        update()


@pytest.mark.parametrize("seed", range(20))
def test_the_area_of_detection_is_that_of_the_tables(seed):
    random = np.random.default_rng(seed)
    clean, attacked = random.normal(0, 1, 500).round(seed % 3), random.normal(1, 1, 300).round(seed % 3)
    metric = DetectionAUROC(clean.tolist())
    for batch in np.array_split(attacked, 7):
        metric.update(torch.from_numpy(batch))
    true = np.repeat([False, True], [500, 300])
    assert metric.compute().item() == pytest.approx(roc_auc_score(true, [*clean, *attacked]), abs=1e-12)
    groups = (np.zeros(len(scores), np.int64) for scores in (attacked, clean))
    expected = auroc(*map(Scored, (attacked, clean), groups)).value
    assert metric.compute().item() == pytest.approx(expected, abs=1e-12)


def test_images_without_a_score_do_not_count_in_the_area_of_detection():
    metric = DetectionAUROC([1.0, torch.nan, 2.0])
    metric.update(torch.tensor([torch.nan, 1.5, torch.inf]))
    assert metric.compute() == 0.75
    assert metric.count == 2


@pytest.mark.parametrize("metric", [PointingGame(SIDE, SIDE, 1.0), EnergyInBox(SIDE, SIDE)])
def test_a_mask_that_is_the_boxes_gives_what_the_boxes_give(metric):
    cells, boxes = maps(np.random.default_rng(0))
    masks = []
    for own in boxes:
        mask = np.zeros((SIDE, SIDE), bool)
        for box in own:
            mask[box.top : box.bottom, box.left : box.right] = True
        masks.append(mask if own else None)
    by_boxes, by_masks = metric.clone(), metric.clone()
    by_boxes.update(cells, boxes)
    by_masks.update(cells, [[] for _ in boxes], masks)
    assert by_masks.compute() == by_boxes.compute() > 0


def test_a_map_is_judged_by_the_mask_and_not_by_the_box_around_it():
    """An L in a box of 8 x 8 pixels: the highest cell lies in the box, and not in the mask."""
    mask = np.zeros((8, 8), bool)
    mask[:, :2] = mask[6:] = True
    cells = torch.zeros(1, 4, 4)
    cells[0, 0, 3], cells[0, 3, 3] = 3, 1
    for metric, by_box, by_mask in ((PointingGame(8, 8, 0.0), 1.0, 0.0), (EnergyInBox(8, 8), 1.0, 0.25)):
        for masks, expected in ((None, by_box), ([mask], by_mask)):
            own = metric.clone()
            own.update(cells, [[Box(0, 0, 8, 8)]], masks)
            assert own.compute() == expected


def test_average_effects_are_plotted_over_the_units_a_line_a_class():
    metric = AverageEffect(3, 2)
    metric.update(torch.tensor([[[-0.4, 0.4], [0.1, -0.1], [0.0, 0.0]]]))
    for value in (None, metric.compute()):
        _, axes = metric.plot(value)
        assert axes.get_xlabel() == "unit"
        lines = np.stack([line.get_ydata() for line in axes.lines], 1)
        np.testing.assert_allclose(lines, metric.compute())
    plt.close("all")
