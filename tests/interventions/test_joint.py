from __future__ import annotations

import pytest
import torch
from torch import nn

import dovision as dv
from dovision.interfaces import Classifier, Context
from dovision.interventions.activation import Activation
from dovision.interventions.brush import Brush
from dovision.interventions.fills import Constant
from dovision.interventions.interchange import Interchange
from dovision.interventions.joint import Joint, Path
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation, engine_choice
from dovision.types import Batch, Task

IMAGES, SOURCES = torch.rand(2, 5, 3, 12, 12, generator=torch.Generator().manual_seed(0))
GRID = PixelGrid(2, 3)


class Branches(nn.Module):
    """Two ways from the image to the logits, one through `left`."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last((self.left(image).relu() + self.right(image).relu()).mean((2, 3)))


@pytest.fixture(params=["incremental", "whole"], autouse=True)
def engine(request, monkeypatch) -> str:
    """Both engines, whatever they cost."""
    monkeypatch.setattr(engine_choice, "WORTH_IT", float("inf") if request.param == "incremental" else -1)
    return request.param


@pytest.fixture
def branches() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Branches(), Task("multiclass", ("a", "b", "c")), (0.0,), (1.0,)).eval()


@pytest.fixture
def batch() -> Batch:
    return Batch(IMAGES, torch.zeros(5, dtype=torch.int64), torch.arange(5), torch.arange(5))


def by_hand(branches: Classifier, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Logits of values of the two branches."""
    return branches.network.last((left.relu() + right.relu()).mean((2, 3)))


@torch.no_grad()
def test_a_masked_image_and_a_silenced_channel_are_made_in_one_pass(branches, batch):
    found = Propagation(branches, Joint(GRID, Activation("left", choose=[2])))(batch)
    assert found.units == (*GRID.units(()), "held", *(f"{unit}+held" for unit in GRID.units(())))
    context, network = Context(batch, branches), branches.network
    for unit in range(6):
        masked = GRID.apply(IMAGES, unit, context)
        silenced = network.left(masked)
        silenced[:, 2] = 0
        expected = by_hand(branches, silenced, network.right(masked))
        torch.testing.assert_close(found.treated[:, 7 + unit], expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.treated[:, unit], branches(masked), rtol=0, atol=1e-6)
    silenced = network.left(IMAGES)
    silenced[:, 2] = 0
    torch.testing.assert_close(
        found.treated[:, 6], by_hand(branches, silenced, network.right(IMAGES)), rtol=0, atol=1e-6
    )


@torch.no_grad()
def test_the_other_intervention_has_its_own_sources(branches, batch):
    held = Activation("left", None, Interchange(SOURCES))
    found = Propagation(branches, Joint(GRID, held), chunk=3)(batch)
    network = branches.network
    for unit in range(6):
        masked = GRID.apply(IMAGES, unit, Context(batch, branches))
        expected = by_hand(branches, network.left(SOURCES), network.right(masked))
        torch.testing.assert_close(found.treated[:, 7 + unit], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_path_leaves_what_lies_beside_it_as_it_is(branches, batch):
    found = Propagation(branches, Path(GRID, "left"))(batch)
    assert found.units == GRID.units(())
    network = branches.network
    for unit in range(6):
        masked = GRID.apply(IMAGES, unit, Context(batch, branches))
        expected = by_hand(branches, network.left(masked), network.right(IMAGES))
        torch.testing.assert_close(found.treated[:, unit], expected, rtol=0, atol=1e-6)


def test_each_forward_pass_is_counted(branches, batch, engine):
    images = []
    with branches.network.right.register_forward_hook(lambda module, args, output: images.append(len(output))):
        for intervention in (Path(GRID, "left"), Joint(GRID, Activation("left", None, Interchange(SOURCES)))):
            propagation, passes = Propagation(branches, intervention, chunk=3), []
            propagation(batch)
            images.clear()
            propagation(batch, passes.append)
            if engine == "whole":
                assert sum(passes) == sum(images)
            else:  # the graph makes a clean pass, and one for each edit
                assert sum(passes) == 5 * (7 if isinstance(intervention, Path) else 15)


@torch.no_grad()
def test_the_effect_through_the_only_way_is_the_whole_effect(context):
    whole = Propagation(context.classifier, GRID)(context.batch)
    through = Propagation(context.classifier, Path(GRID, "1"))(context.batch)
    torch.testing.assert_close(through.treated, whole.treated, rtol=0, atol=1e-6)


@torch.no_grad()
def test_masks_of_a_notebook_are_combined_as_cells_are(branches):
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2:5, 3:9] = True
    found = dv.effect_map(branches, IMAGES, Joint(Brush(mask, Constant(0.0)), Activation("left", choose=[2])))
    alone = dv.effect_map(branches, IMAGES, Brush(mask, Constant(0.0)))
    assert found.units == (*alone.units, "held", *(f"{unit}+held" for unit in alone.units))
    torch.testing.assert_close(found.map, alone.map, rtol=0, atol=1e-6)
