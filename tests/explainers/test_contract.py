"""Contract of every explainer: each yaml of conf/explainer is found and tested unlisted."""

import copy
import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

import dovision as dv
import made_config
from dovision.interfaces import Classifier, Explainer, Explanation
from dovision.types import Batch
from made_batches import state_of
from made_second_device import check

from .conftest import classifier_of, small_network, small_transformer

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPLAINERS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
EXTRAS = {"cam": "pytorch_grad_cam"}
BLIND = {"attention_rollout", "brightness_map", "center_map", "edge_map"}  # to the class
OF_SEVERAL = {"effect_map_combined"}  # maps, of which the map is the mean
OF_TRANSFORMERS = {"attention_rollout", "gradient_attention"}


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    """All explainers at once; coarse, to be quick."""
    grids = ["effect_map", "effect_map_combined.explainers.cells"]
    settings = [f"explainer.{name}.intervention.{axis}=4" for name in grids for axis in ("rows", "columns")]
    settings += ["explainer.occlusion.window=8", "explainer.occlusion.stride=8"]
    gradients = ("integrated_gradients", "effect_map_combined.explainers.fading")
    settings += [f"explainer.{name}.steps=8" for name in gradients]
    settings += ["explainer.grad_cam.layer=stage2", "explainer.rise.masks=40", "explainer.lime.cells=[3,4]"]
    settings += ["explainer.lime.arguments.n_samples=20"]
    return made_config.composed(f"+explainer=[{','.join(EXPLAINERS)}]", "+seed=3", *settings, command=None)


@pytest.fixture(params=EXPLAINERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def explainer(name, composed) -> Explainer:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name], reason="its extra is not installed")
    return instantiate(composed.explainer[name])


@pytest.fixture(params=["multiclass", "multilabel"])
def classifier(request, name) -> Classifier:
    return classifier_of(small_transformer() if name in OF_TRANSFORMERS else small_network(), request.param)


ONE_KIND = pytest.mark.parametrize("classifier", ["multiclass"], indirect=True)  # what does not look at the classes


class Seen(NamedTuple):
    """The maps of a new explainer of one batch, and what it left of it."""

    found: Explanation
    passes: float
    before: Tensor  # the images, as they were
    after: Tensor


@pytest.fixture(scope="module")
def explained() -> dict[tuple[str, str], Seen]:
    """Filled as the tests ask for it, by explainer and kind of task."""
    return {}


@pytest.fixture
def seen(name, explainer, classifier, batch, target, explained) -> Seen:
    """Of another explainer of the same settings, drawn once for all tests."""
    key = name, classifier.task.kind
    if key not in explained:
        other, before = copy.deepcopy(explainer), batch.image.clone()
        assert math.isnan(other.passes)
        explained[key] = Seen(other.explain(batch, target, classifier), other.passes, before, batch.image)
    return explained[key]


def test_maps_have_the_size_of_the_image_and_say_something(seen):
    maps = seen.found.map
    assert maps.shape == (4, 32, 36)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps[1:].abs().amax((1, 2)).count_nonzero() >= 2
    assert not maps.requires_grad


def test_a_batch_of_mixed_targets_equals_one_by_one_in_as_many_passes(seen, explainer, classifier, batch, target):
    alone = [explainer(batch.rows([row]), target[[row]], classifier) for row in range(4)]
    scale = seen.found.map.abs().max().clamp(min=1).item()
    torch.testing.assert_close(seen.found.map, torch.cat(alone), rtol=0, atol=1e-5 * scale)
    assert explainer.passes == seen.passes


@ONE_KIND
def test_the_same_map_whatever_was_drawn_before(seen, explainer, classifier, batch, target):
    torch.rand(7)
    assert torch.equal(explainer(batch, target, classifier), seen.found.map)


@ONE_KIND
@pytest.mark.parametrize("name", ["lime", "random_map", "rise"])
def test_another_seed_gives_another_map(seen, composed, name, classifier, batch, target):
    other = instantiate(composed.explainer[name], seed=4)
    assert not torch.equal(other(batch, target, classifier), seen.found.map)


def test_another_class_has_another_map_unless_the_map_is_blind_to_it(name, explainer, classifier, batch):
    maps = [explainer(batch, torch.full((4,), wanted), classifier) for wanted in range(3)]
    assert torch.equal(maps[0], maps[1]) == torch.equal(maps[1], maps[2]) == (name in BLIND)


def test_the_images_are_not_written_to(seen):
    assert torch.equal(seen.after, seen.before)


@ONE_KIND
@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same_maps(seen, explainer, classifier, batch, target, caller):
    with caller():
        copied = Batch(*(field.clone() for field in batch))  # under inference_mode: inference tensors
        maps = explainer(copied, target.clone(), classifier)
    assert torch.equal(maps, seen.found.map)


@ONE_KIND
@pytest.mark.parametrize("training", [True, False])
def test_the_classifier_is_left_as_it_was(explainer, classifier, batch, target, training):
    classifier.train(training)
    classifier.network.stage1.eval()
    classifier.network.stem[0].weight.requires_grad_(False)
    classifier.network.linear.bias.grad = torch.ones(3)
    before = copy.deepcopy(state_of(classifier))
    explainer(batch, target, classifier)
    for now, then in zip(state_of(classifier), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_a_spread_is_known_where_a_map_is_the_mean_of_several(name, seen):
    assert seen.found.map.shape == seen.found.spread.shape == (4, 32, 36)
    assert seen.found.spread.isfinite().all() == seen.found.spread.isfinite().any() == (name in OF_SEVERAL)


def test_images_that_were_normalised_outside_are_refused(explainer, classifier, batch, target):
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\], got .* Normalise inside the classifier"):
        explainer(batch._replace(image=batch.image * 4 - 2), target, classifier)


def test_metrics_of_captum_and_quantus_take_an_explainer_as_a_function():
    classifier = dv.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), 3, 0.5, 1.0)
    image, target = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])
    gradient = dv.Captum("Saliency", arguments={"abs": False}).function(classifier)(image, target=target)
    shift = lambda image, *_: (torch.full_like(image, 0.01), image - 0.01)  # noqa: E731
    assert infidelity(classifier, shift, image, gradient, target=target).max() < 1e-9  # a linear network's is exact
    function = dv.CenterMap().function(classifier)
    with pytest.warns(UserWarning, match="outside .* are clipped") as warned:
        moved = sensitivity_max(function, image.round(), target=0)
    assert ([str(warning.message)[:6] for warning in warned].count("images"), moved.tolist()) == (1, [0.0, 0.0])
    coloured = dv.CenterMap().function(classifier)(image.expand(-1, 3, -1, -1), target=0)
    torch.testing.assert_close(coloured.sum(1, keepdim=True), function(image, target=0))
    assert function(model=classifier, inputs=image.numpy(), targets=target.numpy(), device="cpu").shape == (2, 1, 8, 8)


@ONE_KIND
def test_a_second_device_gives_the_same_map(explainer, classifier, batch, target):
    check(lambda explainer, *given: explainer(*given), explainer, batch, target, classifier)
