"""Engines that are kept: as long as the classifier lives, and only while it stays as it is."""

import copy
import gc
import logging
import math
import weakref
from collections import OrderedDict
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dovision as dv
from dovision.api import checked_logits
from dovision.propagation import Propagation, engine_choice
from dovision.propagation.graph_passes import fold_batch_norm
from dovision.propagation.incremental import Incremental
from dovision.propagation.propagation import LITTLE
from dovision.propagation.tracing import trace
from dovision.propagation.weights_stamp import weights_stamp
from dovision.propagation.whole_passes import WholePasses

from .conftest import GRID, Painted, agreeing, assert_equal, batch_of, classifier_of, expected_outcome

ONE, TWO = [1], [2]


def network_of():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Flatten(),
        nn.Linear(6 * 64, 5),
    )


@pytest.fixture
def traced(monkeypatch):
    """The sites of the traces made so far."""
    sites = []

    def counting(classifier, site, *others):
        sites.append(site)
        return trace(classifier, site, *others)

    monkeypatch.setattr(engine_choice, "trace", counting)
    return sites


CHANGES = {
    "in place": lambda network: network[4].weight.detach().mul_(2),
    "an element": lambda network: network[4].weight.data[0, 0, 0, 0].add_(0.5),
    "exchanged rows": lambda network: network[6].weight.data.copy_(network[6].weight.data.flip(1)),
    "new weights": lambda network: network.load_state_dict({k: v * 2 for k, v in network.state_dict().items()}),
    "a new parameter": lambda network: setattr(network[6], "bias", nn.Parameter(torch.ones(5))),
    "another type": lambda network: network.to(torch.bfloat16).to(torch.float32),
    "statistics": lambda network: network.train()(torch.rand(4, 1, 16, 16)),
    "another activation": lambda network: network.__setitem__(2, nn.GELU()),
    "another setting": lambda network: setattr(network[1], "eps", 1.0),
    "a hook": lambda network: network[2].register_forward_hook(lambda module, args, output: 2 * output),
    "a longer network": lambda network: network.__setitem__(4, nn.Sequential(network[4], nn.Conv2d(6, 6, 1))),
}


@pytest.mark.parametrize("blank", [-torch.inf, torch.nan, -3e38])
@pytest.mark.parametrize("type_of", [torch.float32, torch.bfloat16])
def test_a_change_is_noticed_beside_a_mask_of_any_value(blank, type_of):
    network = network_of()
    network.register_buffer("mask", torch.full((4, 4), blank, dtype=type_of).triu(1)[:, 3])  # not contiguous
    classifier = classifier_of(network)
    stamp = weights_stamp(classifier)
    CHANGES["an element"](network)
    assert weights_stamp(classifier) != stamp


class Configured(nn.Module):
    """A network with attributes of all kinds, each of which decides the logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 256, 5)
        self.act, self.scaled = F.relu, partial(torch.mul, other=0.5)
        self.numbers, self.by_name, self.nested, self.signs = [0.5, 2.0], {"scale": 1.5}, (1, ({"scale": 2.0},)), {1, 2}
        self.tensors, self.array = [torch.ones(1, 4, 1, 1)], np.full((4, 1, 1), 0.25)

    def forward(self, x):
        x = self.scaled(self.act(self.conv(x))) * self.numbers[1] * self.by_name["scale"] * self.nested[1][0]["scale"]
        x = (x * self.tensors[0] + float(self.array[0, 0, 0])) * sum(self.signs)
        return self.head(x.flatten(1))


def setting(network):
    """A change of every attribute, by its name."""
    return {
        "a function": lambda: setattr(network, "act", torch.tanh),
        "a partial function": lambda: setattr(network, "scaled", partial(torch.mul, other=2.0)),
        "a list of numbers": lambda: network.numbers.__setitem__(1, 3.0),
        "a dictionary": lambda: network.by_name.update(scale=-1.0),
        "a dictionary in a tuple": lambda: network.nested[1][0].update(scale=-1.0),
        "a set": lambda: network.signs.add(5),
        "a list of tensors": lambda: network.tensors.__setitem__(0, torch.full((1, 4, 1, 1), 2.0)),
        "a tensor in a list": lambda: network.tensors[0].mul_(3),
        "an array": lambda: network.array.fill(2.0),
        "a method of an instance": lambda: setattr(network.conv, "forward", lambda x: x.expand(-1, 4, -1, -1)),
    }


@pytest.mark.parametrize("change", [*CHANGES, *setting(nn.Identity())])
def test_a_changed_classifier_gets_a_new_engine(change, traced):
    network, batch = network_of() if change in CHANGES else Configured(), batch_of(2, 1, 16, 16)
    classifier = classifier_of(network)
    before = Propagation(classifier, Painted(GRID))(batch)
    assert isinstance(Propagation(classifier, Painted(GRID)).prepare(batch), Incremental)
    stamp = weights_stamp(classifier)
    assert len(traced) == 1
    CHANGES[change](network) if change in CHANGES else setting(network)[change]()
    classifier.eval()
    assert weights_stamp(classifier) != stamp
    after = Propagation(classifier, Painted(GRID))(batch)
    assert len(traced) > 1
    fresh = Propagation(copy.deepcopy(classifier), Painted(GRID))(batch)
    assert torch.equal(after.treated, fresh.treated)
    assert not torch.equal(after.treated, before.treated)


class Held:
    """An object with a method."""

    def double(self, value):
        return 2 * value


@pytest.mark.parametrize(
    "value",
    [
        *(-1, True, 0.5, math.nan, "a", b"a", 2 + 1j, None, Fraction(1, 3), range(3), slice(2), np.float32(0.5)),
        *(torch.float32, torch.device("cpu"), torch.Size([2]), np.ones(3), torch.ones(3), torch.ones(3).to_sparse()),
        *([1, -1], (1, (2, 3)), {"a": [1]}, {1, 2}, OrderedDict(a=1), [torch.ones(2)], [torch.ones(2).to_sparse()]),
        *(F.relu, torch.tanh, Held(), Held().double, partial(torch.mul, other=2), nn.ReLU, logging.getLogger("a")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_attribute_of_any_kind_leaves_the_stamp_as_it_is(value):
    module = nn.Identity()
    classifier = dv.Classifier(module, dv.Task("multiclass", ("0", "1")), (0.5,), (0.5,))
    module.value = value
    stamp = weights_stamp(classifier)
    assert weights_stamp(classifier) == stamp
    module.value = Held()
    assert weights_stamp(classifier) != stamp
    module.value = value
    assert weights_stamp(classifier) == stamp


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((-1, -2), ([1, -1], [1, -2]), (1, True), (0.0, -0.0), ((1,), [1]), ({"a": 1}, {"a": 2}), ("1", 1)),
        *((1, np.int64(1)), ([ONE, TWO, ONE], [ONE, TWO, TWO])),
    ],
)
def test_like_attributes_have_stamps_of_their_own(one, other):
    module, stamps = nn.Identity(), set()
    classifier = dv.Classifier(module, dv.Task("multiclass", ("0", "1")), (0.5,), (0.5,))
    for value in (one, other):
        module.value = value
        stamps.add(weights_stamp(classifier))
    assert len(stamps) == 2


def test_lists_that_hold_each_other_end():
    module, nested = nn.Identity(), [F.relu]
    for _ in range(40):
        nested = [nested, nested]
    module.nested, module.circular = nested, [F.relu]
    module.circular.append(module.circular)
    classifier = dv.Classifier(module, dv.Task("multiclass", ("0", "1")), (0.5,), (0.5,))
    assert weights_stamp(classifier) == weights_stamp(classifier)


def test_no_two_objects_have_the_same_number():
    module, stamps = nn.Identity(), set()
    classifier = dv.Classifier(module, dv.Task("multiclass", ("0", "1")), (0.5,), (0.5,))
    for factor in range(50):  # each is freed before the next is made, often at the same address
        module.scaled = lambda value, factor=factor: value * factor
        stamps.add(weights_stamp(classifier))
    assert len(stamps) == 50


def test_what_is_kept_goes_with_the_classifier():
    classifier = classifier_of(network_of())
    for site in ("input", "0", "4"):
        Propagation(classifier, Painted([[None]], site))(batch_of(1, 1, 16, 16))
    gone = [weakref.ref(classifier), weakref.ref(classifier.network[4].weight)]
    del classifier
    gc.collect()
    assert [each() for each in gone] == [None, None]


@pytest.mark.parametrize(
    ("regions", "site", "engine"),
    [(GRID, "input", Incremental), ([[None]], "input", WholePasses), ([[None]], "4", Incremental)],
)
def test_whole_passes_are_made_where_little_is_saved(regions, site, engine, monkeypatch):
    monkeypatch.setattr(engine_choice, "WORTH_IT", 0.9)
    propagation = Propagation(classifier_of(network_of()), Painted(regions, site))
    propagation(batch_of(1, 1, 16, 16))
    assert type(propagation.engine) is engine


@pytest.mark.parametrize(("little", "traces"), [(LITTLE, 0), (0, 1)])
def test_a_small_call_runs_the_network_itself(little, traces, traced, monkeypatch):
    monkeypatch.setattr("dovision.propagation.propagation.LITTLE", little)
    classifier, batch = classifier_of(network_of()), batch_of(2, 1, 16, 16)
    propagation = Propagation(classifier, Painted(GRID))
    propagation.prepare_for_call(batch, *checked_logits(classifier, batch.image[:1]))
    assert_equal(propagation(batch), expected_outcome(classifier, Painted(GRID), batch))
    assert len(traced) == traces


@pytest.mark.parametrize("between", [lambda tokens: tokens, F.relu])
def test_a_batch_norm_over_tokens_is_folded_into_the_linear_layer_before_it(between):
    class LinearNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.linear, self.norm = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 8), nn.BatchNorm1d(8)
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.linear(self.stem(x).flatten(2).transpose(1, 2))
            return self.head(nn.functional.hardswish(self.norm(between(x.flatten(0, 1))).reshape_as(x)).mean(1))

    torch.manual_seed(0)
    classifier = dv.wrap(LinearNorm(), 3).eval()
    image = torch.rand(2, 3, 16, 16)
    graph = fold_batch_norm(trace(classifier, None, image))
    assert any(isinstance(step.function, nn.BatchNorm1d) for step in graph.steps) == (between is F.relu)
    with torch.no_grad():
        torch.testing.assert_close(Incremental(graph, False).clean(image).control, classifier(image))


@pytest.mark.parametrize("by_view", [False, True])
def test_whole_passes_are_channels_last_unless_the_network_views_a_map_as_it_lies(by_view):
    class Flat(nn.Module):
        def forward(self, x):
            assert float(x.sum()) < torch.inf  # a value, by which it cannot be traced
            return x.view(len(x), -1) if by_view else x.flatten(1)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Flat(), nn.Linear(4 * 36, 5))
    engine = agreeing(dv.wrap(network, 5), dv.PixelGrid(2, 2), batch_of(2, 3, 8, 8)).engine
    assert (type(engine), engine.layout is torch.channels_last) == (WholePasses, not by_view)
