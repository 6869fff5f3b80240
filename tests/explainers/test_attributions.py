"""Attributions by captum, where known and as captum gives them; controls against scipy; RISE."""

import inspect
import math
from itertools import pairwise

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr._utils.lrp_rules import EpsilonRule
from scipy import ndimage
from torch import nn

import dovision as dv
from dovision.explainers.attributions import METHODS
from dovision.functional.rng import seeded

from .conftest import classifier_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")
TARGET = torch.tensor([2, 0, 1, 2, 2])


@pytest.mark.parametrize("baselines", [[0.0], [0.25], [0.0, 1.0]])
def test_on_a_linear_model_a_pixel_has_its_weight_times_its_way_on_average(baselines, linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    maps = dv.IntegratedGradients(steps=3, baselines=baselines)(batch, TARGET, linear(weight))
    expected = (weight[TARGET] * (batch.image - sum(baselines) / len(baselines))).sum(1)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)


def test_the_cells_of_a_grid_have_the_sums_of_their_pixels_shares(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 14, 14)
    pixels = dv.IntegratedGradients(steps=8)(batch, TARGET, classifier)
    found = dv.IntegratedGradients(steps=8, cells=3)(batch, TARGET, classifier)
    edges = [0, 4, 9, 14]
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            total = pixels[:, top:bottom, left:right].sum((1, 2))
            cell = found[:, top:bottom, left:right].flatten(1)
            torch.testing.assert_close(cell, total.unsqueeze(1).expand_as(cell), rtol=1e-5, atol=1e-6)


def test_the_map_is_captums_own_and_no_more_images_are_run_at_a_time_than_the_batch_size(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 14, 14)
    expected = captum.attr.IntegratedGradients(classifier).attribute(batch.image, 0.0, TARGET, n_steps=20).sum(1)
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    maps = dv.IntegratedGradients(steps=20, batch_size=3)(batch, TARGET, classifier)
    torch.testing.assert_close(maps, expected.detach(), rtol=0, atol=1e-5)
    assert max(seen) == 3


def test_on_a_linear_model_a_pixel_takes_its_weight_times_its_distance_from_the_fill_away(linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    maps = dv.Occlusion(window=1, stride=1, fill=0.25, scale="log_odds")(batch, TARGET, linear(weight))
    torch.testing.assert_close(maps, (weight[TARGET] * (batch.image - 0.25)).sum(1), rtol=0, atol=1e-5)


def test_occlusion_is_captums_own_and_no_more_images_are_run_at_a_time_than_the_batch_size(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 13, 15)
    peer = captum.attr.Occlusion(lambda image: classifier(image).softmax(-1))
    expected = peer.attribute(batch.image, (3, 4, 4), strides=(3, 3, 3), target=TARGET, baselines=0.5)[:, 0]
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    maps = dv.Occlusion(window=4, stride=3, fill=0.5, batch_size=4)(batch, TARGET, classifier)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)
    assert max(seen) == 4


def test_the_usual_window_is_a_fourteenth_of_the_shorter_side(convolutional, images):
    classifier, batch = convolutional(), images(2, 3, 28, 33)
    usual, named = (explainer(batch, TARGET[:2], classifier) for explainer in (dv.Occlusion(), dv.Occlusion(2, 2)))
    assert torch.equal(usual, named)
    assert usual[0, 0, 0] == usual[0, 1, 1]


BLANKS = [0.0, 1.0]
ARGUMENTS = {  # without which captum refuses the method, or draws
    "DeepLiftShap": {"baselines": BLANKS},
    "LayerDeepLiftShap": {"baselines": BLANKS},
    "GradientShap": {"baselines": BLANKS},
    "LayerGradientShap": {"baselines": BLANKS},
    "Occlusion": {"sliding_window_shapes": 4, "strides": 2},
    "ShapleyValueSampling": {"n_samples": 3},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_captums_own_attributions_of_the_classifier(name, convolutional, images):
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    kind, arguments = getattr(captum.attr, name), dict(ARGUMENTS.get(name, {}))
    layer = "0" if name == "LayerLRP" else "2"
    by_layer = "layer" in inspect.signature(kind.__init__).parameters
    taken = inspect.signature(kind.attribute).parameters
    cells = 2 if "feature_mask" in taken else None
    explainer = dv.Captum(name, layer if by_layer else None, arguments, cells, seed=5)
    found = explainer(batch, TARGET[:3], classifier)

    by_rules = name in ("LRP", "LayerLRP")  # behind the normalisation
    model = classifier.network if by_rules else Plain(classifier)
    method = kind(model, classifier.network.get_submodule(layer)) if by_layer else kind(model)
    if cells:
        rows, columns = torch.arange(14).view(14, 1) // 7, torch.arange(14) // 7
        arguments["feature_mask"] = (2 * rows + columns)[None, None]
    if "baselines" in arguments:
        arguments["baselines"] = torch.stack([torch.full((3, 14, 14), level) for level in BLANKS])
    if name == "Occlusion":
        arguments = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 2, 2)}
    expected = []
    np.random.seed(1)  # noqa: NPY002  # a library that draws from it must not see this
    for sample in range(3):
        given = {"target": int(TARGET[sample])} if "target" in taken else {}
        image = batch.image[[sample]]
        if by_rules:
            classifier.network[5].rule = EpsilonRule()  # captum has none for Flatten, and removes this one
        with seeded(torch.device("cpu"), 5, sample):
            whole = method.attribute(
                (image - classifier.mean) / classifier.std if by_rules else image, **arguments | given
            )
        whole = whole[:, :1] if cells or name == "Occlusion" else whole.sum(1, keepdim=True)
        expected.append(F.interpolate(whole.detach().float(), (14, 14), mode="bilinear")[:, 0])
    assert found.abs().max() > 0
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-5)


class Plain(nn.Module):
    """A classifier without checks of its arguments, since captum's hooks call it with two."""

    def __init__(self, classifier: dv.Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(image)


def test_an_object_of_captum_is_taken_with_its_settings_and_left_as_it_was(convolutional, images):
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    made = captum.attr.IntegratedGradients(classifier.network, multiply_by_inputs=False)
    found = dv.Captum(made, arguments={"n_steps": 8})(batch, TARGET[:3], classifier)
    named = dv.Captum("IntegratedGradients", arguments={"n_steps": 8, "multiply_by_inputs": False})
    torch.testing.assert_close(found, named(batch, TARGET[:3], classifier))
    assert made.forward_func is classifier.network
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(lambda image: classifier.network(image)))
    noisy = dv.Captum(tunnel, arguments={"nt_samples": 4, "stdevs": 0.1}, seed=2)(batch, TARGET[:3], classifier)
    same = dv.Captum("Saliency", arguments={"nt_samples": 4, "stdevs": 0.1}, seed=2)(batch, TARGET[:3], classifier)
    assert torch.equal(noisy, same)


def test_a_layer_may_be_given_by_its_module(convolutional, images):
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    by_name, by_module = (dv.Captum("LayerGradCam", layer) for layer in ("2", classifier.network[2]))
    made = dv.Captum(captum.attr.LayerGradCam(classifier.network.forward, classifier.network[2]))
    made.check(classifier, (3, 14, 14))
    maps = [explainer(batch, TARGET[:3], classifier) for explainer in (by_name, by_module, made)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    with pytest.raises(ValueError, match=r"layer must be one of the network's, got 'a Conv2d of another network'"):
        dv.Captum("LayerGradCam", nn.Conv2d(1, 1, 1))(batch, TARGET[:3], classifier)


def test_deep_lift_takes_a_network_that_calls_one_relu_twice(images):
    """The sum of a map is the logit minus that of the blank image, as DeepLift promises."""
    torch.manual_seed(0)
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu, nn.Flatten(), nn.Linear(400, 3))
    classifier, batch = classifier_of(network), images(3, 3, 14, 14)
    with pytest.raises(RuntimeError, match="used more than once"):
        captum.attr.DeepLift(network).attribute(batch.image, target=1)
    maps = dv.Captum("DeepLift")(batch, TARGET[:3], classifier)
    with torch.no_grad():
        change = (classifier(batch.image) - classifier(torch.zeros_like(batch.image)))[torch.arange(3), TARGET[:3]]
    torch.testing.assert_close(maps.sum((1, 2)), change, rtol=1e-4, atol=1e-5)
    assert network[1] is network[3] is relu


def test_what_captum_or_a_method_refuses_is_refused_in_a_sentence(images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="captum's LRP fails on this network: Module of .*SiLU.*Choose another method"):
        dv.Captum("LRP")(images(3, 3, 14, 14), TARGET[:3], classifier_of(network))
    for name in ("DeepLift", "IntegratedGradients", "FeatureAblation"):
        with pytest.raises(ValueError, match=rf"baselines of {name} must be one number or a tensor, got \[0.485, 0.4"):
            dv.Captum(name, arguments={"baselines": [0.485, 0.456, 0.406]})


def test_the_bump_is_highest_at_the_centre_and_falls_by_its_sigma(convolutional, images):
    (bump,) = dv.CenterMap(sigma=0.2)(images(1, 3, 11, 21), torch.tensor([0]), convolutional())
    assert bump.argmax() == 5 * 21 + 10
    assert bump[5, 10] == 1
    assert bump[5, 14] == pytest.approx(math.exp(-0.5 * (4 / (0.2 * 21)) ** 2))
    assert bump[8, 10] == pytest.approx(math.exp(-0.5 * (3 / (0.2 * 11)) ** 2))
    torch.testing.assert_close(bump, bump.flip(0, 1))


def test_the_map_is_the_size_of_scipys_sobel_gradient_of_the_grey_image(convolutional, images):
    batch = images(3, 3, 12, 15)
    grey = batch.image.mean(1).numpy()
    expected = [np.hypot(*(ndimage.sobel(one, axis, mode="nearest") for axis in (0, 1))) for one in grey]
    maps = dv.EdgeMap()(batch, torch.tensor([0, 1, 2]), convolutional())
    torch.testing.assert_close(maps, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-5)


def test_a_pixel_has_what_is_left_where_it_is_shown_minus_what_is_left_on_average(linear, images):
    weight = torch.zeros(1, 1, 12, 12)
    weight[:, :, :6, :6] = 1 / 36  # the logit is the mean of the upper left quarter, half of which is shown
    batch = images(2, 1, 12, 12)._replace(image=torch.ones(2, 1, 12, 12))
    maps = dv.RISE(seed=0, masks=4000, cells=2, scale="log_odds")(batch, torch.tensor([0, 0]), linear(weight))
    corner, opposite = maps[:, :2, :2], maps[:, -2:, -2:]
    assert corner.min() > 0.2
    assert opposite.abs().max() < 0.05
    assert maps[:, 5:7, 5:7].mean() < corner.mean()
