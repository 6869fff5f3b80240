"""The public class: sites, chunks, fallbacks, the classifier's state, and what is refused."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dovision as dv
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.propagation.whole_passes import WholePasses

from .conftest import GRID, Painted, agreeing, assert_equal, batch_of, classifier_of, expected_outcome, with_statistics


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 5),
    ).eval()


class LooksAtValues(nn.Module):
    """Control flow that depends on the image's values, which cannot be traced."""

    def forward(self, x):
        return x * 2 if x.sum() > 1e9 else x


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("regions", [GRID, [[None]] * 3])
def test_edits_that_change_no_bit_take_no_pass(traced, regions):
    """Unit 0 as it is on all images, the others on every second one; in regions and as a whole."""

    class Partly(Painted):
        def do(self, value, unit, context):
            new = super().do(value, unit, context)
            region = self.region(tuple(value.shape[1:]), unit, 0)
            old = value if region is None else region.crop(value)
            same = (context.batch.sample % 2 == 0) | (unit == 0)
            return torch.where(same.view(-1, 1, 1, 1), old, new)

    network = small_network() if traced else nn.Sequential(LooksAtValues(), *small_network())
    classifier, batch, passes = classifier_of(network), batch_of(5, 1, 16, 16), []
    outcome = Propagation(classifier, Partly(regions), chunk=7)(batch, passes.append)
    plain = Propagation(classifier, Painted(regions), chunk=7)(
        batch
    )  # but for what is drawn alike, all edits change something
    assert outcome.skipped == 5 + 3 * (len(regions) - 1)
    assert sum(passes) == 5 + 2 * (len(regions) - 1)
    changed = torch.tensor([[row % 2 == 1 and unit > 0 for unit in range(len(regions))] for row in range(5)])
    assert torch.equal(outcome.treated[~changed], outcome.control.unsqueeze(1).expand_as(outcome.treated)[~changed])
    torch.testing.assert_close(outcome.treated[changed], plain.treated[changed], rtol=0, atol=1e-6)


class Sourced(dv.Intervention):
    """do(all = the source's value), and do(all = the reference's mean)."""

    def __init__(self, site, sources=None, references=None):
        self.site, self._sources, self._references = site, sources, references

    def sources(self, batch):
        return None if self._sources is None else self._sources[batch.sample]

    def references(self):
        return self._references

    def units(self, shape):
        return ("all",)

    def do(self, value, unit, context):
        return context.reference.expand_as(value) if context.source is None else context.source


@pytest.mark.parametrize("site", [dv.INPUT, "2", "7"])
def test_the_sites_value_of_source_images_gives_their_logits(site):
    classifier, batch = classifier_of(small_network()), batch_of(3, 1, 16, 16)
    images, passes = torch.rand(3, 1, 16, 16), []
    outcome = Propagation(classifier, Sourced(site, sources=images))(batch, passes.append)
    assert sum(passes) == 3 * (2 if site == dv.INPUT else 3)
    torch.testing.assert_close(outcome.treated[:, 0], classifier(images).detach(), rtol=0, atol=1e-6)


def test_the_reference_is_the_mean_of_the_sites_value_and_is_found_once():
    network = small_network()
    classifier, batch = classifier_of(network), batch_of(2, 1, 16, 16)
    images, passes = torch.rand(35, 1, 16, 16), []
    propagation = Propagation(classifier, Sourced("0", references=images))
    outcome = propagation(batch, passes.append)
    propagation(batch, passes.append)
    assert sum(passes) == 35 + 2 * 2 * 2
    with torch.no_grad():
        mean = network[0]((images - 0.5) / 0.25).mean(0, keepdim=True)
        torch.testing.assert_close(outcome.treated[0], network[1:](mean), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": torch.rand(3, 1, 8, 8)}, r"an image for each of the batch, shape \(1, 1, 16, 16\), got"),
        ({"references": torch.rand(0, 1, 16, 16)}, r"references must be images of the shape"),
    ],
)
def test_sources_and_references_of_other_shapes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Propagation(classifier_of(small_network()), Sourced(dv.INPUT, **wrong))(batch_of(3, 1, 16, 16))


def test_the_classifier_is_left_as_it_was():
    classifier = classifier_of(with_statistics(small_network())).train()
    classifier.network[1].eval()
    state = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    attributes = set(vars(classifier))
    Propagation(classifier, Painted(GRID))(batch_of(2, 1, 16, 16))
    assert all(torch.equal(value, state[name]) for name, value in classifier.state_dict().items())
    assert modes == [module.training for module in classifier.modules()]
    assert attributes == set(vars(classifier))
    assert not any(module._forward_hooks for module in classifier.modules())


@pytest.mark.parametrize("site", [dv.INPUT, "0", "5"])
def test_a_model_that_cannot_be_traced_is_run_in_full_and_said_once(site, caplog):
    network = with_statistics(small_network())
    network[3] = nn.Sequential(network[3], LooksAtValues())
    classifier, batch = classifier_of(network), batch_of(2, 1, 16, 16)
    propagation = Propagation(classifier, Painted([[dv.Box(1, 1, 4, 5)], [None]], site), chunk=3)
    with caplog.at_level(logging.WARNING, "dovision.propagation"):
        outcomes = [propagation(batch) for _ in range(3)]
    assert_equal(outcomes[-1], expected_outcome(classifier, propagation.intervention, batch))
    assert isinstance(propagation.engine, WholePasses)
    assert len([r for r in caplog.records if "in full for every edit" in r.message]) == 1


def test_a_site_inside_a_module_that_is_one_step_is_found_by_a_hook():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 8, batch_first=True)
    network = nn.Sequential(nn.Flatten(2), layer, nn.Flatten(), nn.Linear(16 * 16, 5)).eval()
    classifier, batch = classifier_of(network), batch_of(2, 16, 4, 4)
    with torch.enable_grad():  # the fused path of the layer would skip its parts
        assert isinstance(agreeing(classifier, Painted([[None]], "1.linear1"), batch).engine, WholePasses)


def test_batch_norm_that_cannot_be_folded_accurately_is_not_folded():
    network = small_network()
    network[0] = nn.Conv2d(1, 4, 5, padding=2)  # for which torch takes one kernel, however many images there are
    network[1].running_mean.fill_(3e4)  # folded, the convolution's bias would swallow its result
    network[0].bias.data.fill_(3e4)
    classifier, batch = classifier_of(network), batch_of(1, 1, 16, 16)
    agreeing(classifier, Painted(GRID), batch)


def test_out_of_memory_halves_the_chunk_and_says_so(caplog, monkeypatch):
    run = Incremental.run

    def small_memory(engine, clean, pairs, value, context):
        if len(pairs) > 4:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")
        return run(engine, clean, pairs, value, context)

    monkeypatch.setattr(Incremental, "run", small_memory)
    classifier, batch = classifier_of(small_network()), batch_of(2, 1, 16, 16)
    propagation = Propagation(classifier, Painted(GRID))
    with caplog.at_level(logging.WARNING, "dovision.propagation"):
        outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, propagation.intervention, batch))
    assert "out of memory with 16 pairs in a pass; going on with 8." in caplog.text
    assert propagation.allowance.pairs <= 4


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def broken(*args):
        raise RuntimeError("something else")

    propagation = Propagation(classifier_of(small_network()), Painted(GRID))
    propagation(batch_of(1, 1, 16, 16))
    monkeypatch.setattr(Incremental, "run", broken)
    with pytest.raises(RuntimeError, match="something else"):
        propagation(batch_of(1, 1, 16, 16))


def test_a_site_that_runs_twice_is_refused():
    network = small_network()
    network[5] = network[2]
    with pytest.raises(ValueError, match="must run once in a forward pass, got 2 runs"):
        Propagation(classifier_of(network), Painted([[None]], "2"))(batch_of(1, 1, 16, 16))


def test_a_site_with_several_outputs_is_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class First(nn.Module):
        def forward(self, pair):
            return pair[0]

    network = nn.Sequential(Two(), First(), *small_network())
    with pytest.raises(ValueError, match="must be one tensor with the images on its first axis, got tuple"):
        Propagation(classifier_of(network), Painted([[None]], "0"))(batch_of(1, 1, 16, 16))


def test_batch_norm_without_running_statistics_is_refused():
    network = small_network()
    network[1] = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(ValueError, match=r"must not depend on the other images .* '1' keeps no running statistics"):
        Propagation(classifier_of(network), Painted(GRID))


@pytest.mark.parametrize("mixed", [lambda x: x - x.mean(0, keepdim=True), lambda x: (x * 15 / x.abs().amax()).round()])
def test_any_other_dependence_on_the_batch_is_refused(mixed):
    class Mixed(nn.Module):
        def forward(self, x):
            return mixed(x)

    network = nn.Sequential(*small_network(), Mixed())
    with pytest.raises(
        ValueError, match="must not depend on the other images of its batch, but it does, by .* in a logit"
    ):
        Propagation(classifier_of(network), Painted(GRID))(batch_of(1, 1, 16, 16))


def test_under_autocast_the_outcome_is_that_of_autocast():
    network = small_network()
    network.insert(4, nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
    classifier, batch = classifier_of(network), batch_of(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        propagation = Propagation(classifier, Painted(GRID))
        outcome = propagation(batch)
        expected = expected_outcome(classifier, propagation.intervention, batch)
    assert outcome.treated.dtype == expected.treated.dtype == torch.bfloat16
    assert torch.allclose(outcome.treated.float(), expected.treated.float(), atol=0.05)
    assert isinstance(propagation.engine, Incremental)


def test_a_region_of_a_value_that_is_no_map_is_edited_in_full():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(16, 8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)).eval()
    classifier, batch = classifier_of(network), batch_of(2, 4, 4, 4)
    regions = [[dv.Box(0, 1, 2, 3)], [dv.Box(1, 0, 4, 8)]] * 3
    assert isinstance(agreeing(classifier, Painted(regions, "1"), batch).engine, Incremental)


@pytest.mark.parametrize(
    ("body", "local"),
    [
        (lambda x: torch.add(x, other=x.sigmoid()), True),
        (lambda x: F.max_pool2d(input=x, kernel_size=2), True),
        (lambda x: F.avg_pool2d(x, 3, 1, 1) + F.avg_pool2d(input=x, kernel_size=5, stride=1, padding=2), True),
        (lambda x: x[:, :, 1:], True),
        (lambda x: torch.cat([x, x], axis=1)[:, 3:9], False),
        (lambda x: x.permute(dims=(0, 2, 3, 1)).permute(0, 3, 1, 2), False),
    ],
)
def test_operands_may_be_given_by_name(body, local):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Conv2d(1, 6, 3, padding=1)
            self.after = nn.Conv2d(6, 5, 1)

        def forward(self, x):
            return self.after(body(self.before(x))).mean((2, 3))

    torch.manual_seed(0)
    shape = (16, 22) if local else (22, 16)
    classifier, batch = classifier_of(Named().eval()), batch_of(2, 1, *shape)
    propagation = agreeing(classifier, Painted([*GRID, [dv.Box(12, 12, *shape)]]), batch)
    engine = propagation.engine
    assert isinstance(engine, Incremental)
    in_full = [step.name for step in engine.edited_steps if engine.rules[step] is None]
    assert len(in_full) == (1 if local else 2)  # the mean over places is


IMAGES = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(0)).split(1)


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * 144, 3)).train()


def grid(classifier, image):
    return dv.effect_map(classifier, image, dv.PixelGrid(3, 3)).effect


def channels(classifier, image):
    return dv.effect_map(classifier, image, dv.Activation(site="1")).effect


def attack(classifier, image):
    return dv.effect_map(classifier, image, dv.Perturbation(dv.PGD(0.1, steps=3))).effect


def spread(threads, measure, classifiers):
    """The effects on each image, measured by so many threads, the images and classifiers in turn."""
    turns = [classifiers[i % len(classifiers)] for i in range(len(IMAGES) * 3)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(measure, turns, IMAGES * 3))


@pytest.fixture
def often():
    """Threads change a thousand times as often as by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("measure", [grid, channels, attack])
@pytest.mark.parametrize("shared", [1, 2])
def test_four_threads_give_the_bits_of_one(measure, shared):
    trained = network()
    classifiers = [dv.wrap(trained, 3) for _ in range(shared)]
    alone, together = (spread(threads, measure, classifiers) for threads in (1, 4))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert all(module.training for module in trained.modules())
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert not any(module._forward_hooks for module in trained.modules())
