import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

import dovision as dv
from dovision.interfaces import Context
from dovision.propagation import Propagation
from made_batches import batch_of

IMAGES, SOURCES = torch.rand(2, 5, 3, 12, 12, generator=torch.Generator().manual_seed(0))
BATCH, GRID = batch_of(IMAGES), dv.PixelGrid(2, 3)


class Branches(nn.Module):
    """Two ways from the image to the logits, one through `left`."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last((self.left(image).relu() + self.right(image).relu()).mean((2, 3)))


@pytest.fixture
def branches() -> dv.Classifier:
    torch.manual_seed(0)
    return dv.Classifier(Branches(), dv.Task("multiclass", ("a", "b", "c")), (0.0,), (1.0,)).eval()


def by_hand(branches: dv.Classifier, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Logits of values of the two branches."""
    return branches.network.last((left.relu() + right.relu()).mean((2, 3)))


@torch.no_grad()
def test_a_masked_image_and_a_silenced_channel_are_made_in_one_pass(branches):
    found = Propagation(branches, dv.Joint(GRID, dv.Activation("left", choose=[2])))(BATCH)
    assert found.units == (*GRID.units(()), "held", *(f"{unit}+held" for unit in GRID.units(())))
    context, network = Context(BATCH, branches), branches.network
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
def test_two_layers_are_edited_as_by_hooks_set_by_hand():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(320, 3)).eval()
    passes = []
    found = Propagation(dv.wrap(network, 3), dv.Joint(dv.Activation("0"), dv.Activation("2", choose=[1])), chunk=3)(
        BATCH, passes.append
    )
    assert found.units == ("c0", "c1", "c2", "c3", "held", "c0+held", "c1+held", "c2+held", "c3+held")
    assert sum(passes) == 5 * (1 + 9)

    def silent(layer: int, channel: int) -> RemovableHandle:
        zeros = torch.tensor([channel])
        return network[layer].register_forward_hook(lambda module, args, output: output.index_fill(1, zeros, 0))

    for unit, name in enumerate(found.units):
        hooks = [silent(2, 1)] if "held" in name else []
        hooks += [silent(0, int(name[1]))] if name != "held" else []
        expected = network(IMAGES)
        for hook in hooks:
            hook.remove()
        torch.testing.assert_close(found.treated[:, unit], expected, rtol=0, atol=1e-6)
