"""The mean of maps of one size each, and how far they lie apart."""

from __future__ import annotations

import pytest
import torch

from dovision.explainers.combined_map import CombinedMap
from dovision.explainers.effect_map import EffectMap
from dovision.interfaces import Explainer
from dovision.interventions.fills import Constant
from dovision.interventions.pixel_grid import PixelGrid

TARGET = torch.tensor([0, 1])


class Painted(Explainer):
    """The same map for every image."""

    def __init__(self, *rows: list[float]) -> None:
        self.painted = torch.tensor(rows)

    def run(self, batch, target, classifier):
        return self.painted.expand(len(batch.image), -1, -1)


def explained(batch, classifier, **explainers):
    return CombinedMap(explainers).explain(batch, TARGET, classifier)


def test_each_map_counts_alike_whatever_its_size(convolutional, images):
    batch = images(2, 3, 12, 15)
    first, second = Painted([0.0, 4.0]), Painted([-0.5, 0.25])
    whole = CombinedMap({"first": first, "second": second})
    assert whole(batch, TARGET, convolutional()).shape == (2, 12, 15)
    found = whole.run_each(batch, TARGET, convolutional())
    torch.testing.assert_close(found.amax((2, 3)), torch.tensor([[1.0, 0.5]] * 2))
    torch.testing.assert_close(found.amin((2, 3)), torch.tensor([[0.0, -1.0]] * 2))


def test_the_spread_is_the_standard_deviation_and_zero_where_maps_agree(convolutional, images):
    batch = images(2, 3, 1, 2)
    found = explained(batch, convolutional(), a=Painted([1.0, 2.0]), b=Painted([0.0, 7.0]))
    assert found.map[0, 0].tolist() == [0.25, 1.0]
    assert found.spread[0, 0].tolist() == [0.25, 0.0]


def test_a_map_of_zeros_stays_one_and_what_is_not_finite_is_passed_on(convolutional, images):
    batch = images(2, 3, 1, 2)
    found = explained(batch, convolutional(), a=Painted([0.0, 0.0]), b=Painted([0.0, 1.0]))
    assert found.map[0, 0].tolist() == [0.0, 0.5]
    assert explained(batch, convolutional(), a=Painted([torch.nan, 0.0]), b=Painted([0.0, 1.0])).map.isnan().any()


def test_passes_are_those_of_all_maps(convolutional, images):
    grids = {name: EffectMap(PixelGrid(size, size, Constant(0.5))) for name, size in (("coarse", 2), ("fine", 3))}
    whole = CombinedMap(grids)
    whole(images(2, 3, 12, 15), TARGET, convolutional())
    assert whole.passes == (1 + 4) + (1 + 9)


def test_one_map_or_what_is_no_explainer_is_refused():
    with pytest.raises(ValueError, match="explainers must be at least two, got 1"):
        CombinedMap({"a": Painted([1.0])})
    with pytest.raises(ValueError, match=r"explainers\.b must be an explainer such as EffectMap"):
        CombinedMap({"a": Painted([1.0]), "b": PixelGrid(2, 2)})
