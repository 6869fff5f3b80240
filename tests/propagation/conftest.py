"""An oracle that knows nothing of the engine, and interventions with regions chosen by the test."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import made_batches
from dovision.functional.geometry import grid_cell
from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation import Outcome, Propagation, engine_choice
from dovision.types import INPUT, Batch, Box, Shape, Task

CLASSES = ("a", "b", "c", "d", "e")
GRID = [[grid_cell((1, 16, 16), unit, 4, 4)] for unit in range(16)]


class Painted(Intervention):
    """do(u): a sample's region of unit u becomes noise of its own; None is the whole value."""

    def __init__(self, regions: Sequence[Sequence[Box | None]], site: str = INPUT) -> None:
        self.regions = regions  # [unit][sample]
        self.site = site

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(f"u{unit}" for unit in range(len(self.regions)))

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        return self.regions[unit][sample % len(self.regions[unit])]

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        samples = context.batch.sample.tolist()
        (region,) = {self.region(tuple(value.shape[1:]), unit, sample) for sample in samples}
        target = value if region is None else region.crop(value)
        return torch.stack([_noise(target[0].shape, unit, sample) for sample in samples]).to(value)


def _noise(shape: torch.Size, unit: int, sample: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1000 * unit + sample))


def classifier_of(network: nn.Module) -> Classifier:
    return Classifier(network, Task("multiclass", CLASSES), mean=(0.5,), std=(0.25,)).eval()


def batch_of(count: int, *shape: int) -> Batch:
    return made_batches.batch_of(torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)))


def expected_outcome(classifier: Classifier, intervention: Intervention, batch: Batch) -> Outcome:
    """One whole forward pass for each image and unit; a site other than the image is replaced by a hook."""
    path = classifier.sites.get(intervention.site, intervention.site)
    module = None if path == INPUT else classifier.network.get_submodule(path)
    rows = []
    with torch.no_grad():
        control = torch.cat([classifier(batch.image[i : i + 1]) for i in range(len(batch.image))])
        for i in range(len(batch.image)):
            context = Context(batch.rows(slice(i, i + 1)), classifier)
            units, logits = _each_unit(classifier, intervention, context, module)
            rows.append(torch.cat(logits))
    return Outcome(units, control, torch.stack(rows))


def _each_unit(
    classifier: Classifier, intervention: Intervention, context: Context, module: nn.Module | None
) -> tuple[tuple[str, ...], list[Tensor]]:
    image = context.batch.image
    value: list[Tensor] = [image]
    if module is not None:
        handle = module.register_forward_hook(lambda m, args, output: value.append(output.clone()))
        classifier(image)
        handle.remove()
    logits, units = [], intervention.units(tuple(value[-1].shape[1:]))
    for unit in range(len(units)):
        edited = intervention.apply(value[-1], unit, context)
        if module is None:
            logits.append(classifier(edited))
            continue
        handle = module.register_forward_hook(lambda m, args, output, edited=edited: edited)
        logits.append(classifier(image))
        handle.remove()
    return units, logits


def assert_equal(got: Outcome, expected: Outcome) -> None:
    """To 1e-5 in probability and 1e-4 of the largest logit."""
    assert got.units == expected.units
    for name in ("control", "treated"):
        ours, theirs = getattr(got, name), getattr(expected, name)
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
        assert (ours.softmax(-1) - theirs.softmax(-1)).abs().max() <= 1e-5


def agreeing(classifier: Classifier, intervention: Intervention, batch: Batch) -> Propagation:
    """A propagation whose outcome on the batch is the expected one."""
    propagation = Propagation(classifier, intervention)
    assert_equal(propagation(batch), expected_outcome(classifier, intervention, batch))
    return propagation


def with_statistics(network: nn.Module) -> nn.Module:
    """The network, its batch-norms with running statistics and weights as if it had been trained."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=random)
            module.running_var.uniform_(0.5, 1.5, generator=random)
            module.weight.data.uniform_(0.5, 1.2, generator=random)
            module.bias.data.normal_(0, 0.1, generator=random)
    return network


@pytest.fixture(autouse=True)
def incremental_wherever_it_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what the incremental engine gives take it also where it saves no operations."""
    monkeypatch.setattr(engine_choice, "WORTH_IT", float("inf"))
