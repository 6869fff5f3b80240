"""Drop-ins for captum's perturbation methods: captum's own attributions, and captum's own code for all else."""

import copy
import inspect

import captum.attr
import pytest
import torch
from torch import Tensor, nn

import dovision.captum

LABEL = torch.tensor([0, 1, 2, 3, 1])
CELLS = (torch.arange(17).view(17, 1) // 5 * 4 + torch.arange(20) // 5)[None, None]
SCATTERED = torch.randint(0, 9, (1, 3, 17, 20), generator=torch.Generator().manual_seed(1))
EACH = torch.randint(0, 9, (5, 3, 17, 20), generator=torch.Generator().manual_seed(2))  # a mask an image
NOISE = torch.rand(5, 3, 17, 20, generator=torch.Generator().manual_seed(3)).double()


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)).double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 17, 20, generator=torch.Generator().manual_seed(4)).double()


def attributions(library, name: str, forward, images: Tensor, **arguments) -> Tensor:
    torch.manual_seed(5)
    return getattr(library, name)(forward).attribute(images, **arguments)


def both(*given, **arguments) -> list[Tensor]:
    """Ours and captum's."""
    return [attributions(library, *given, **arguments) for library in (dovision.captum, captum.attr)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("FeatureAblation", {"feature_mask": CELLS, "target": LABEL}),
        ("FeatureAblation", {"feature_mask": SCATTERED, "target": LABEL, "baselines": NOISE[:1]}),
        ("FeatureAblation", {"feature_mask": EACH, "target": [3, 2, 1, 0, 0], "baselines": NOISE}),
        ("FeatureAblation", {"feature_mask": 3 * CELLS + 2, "target": 1, "baselines": 0.3}),
        ("FeatureAblation", {"feature_mask": CELLS, "target": 1, "baselines": (NOISE,)}),
        ("Occlusion", {"sliding_window_shapes": (3, 5, 5), "strides": (3, 2, 3), "target": LABEL, "baselines": 0.2}),
        ("Occlusion", {"sliding_window_shapes": (2, 4, 6), "strides": (1, 4, 5), "target": 2, "baselines": NOISE}),
        ("Occlusion", {"sliding_window_shapes": (3, 16, 20), "target": 2}),
        ("ShapleyValueSampling", {"feature_mask": CELLS, "target": LABEL, "n_samples": 3, "baselines": 0.1}),
        ("ShapleyValueSampling", {"feature_mask": SCATTERED, "target": 3, "n_samples": 2}),
    ],
)
def test_attributions_are_captums_own(name, arguments, network, images, monkeypatch):
    expected = attributions(captum.attr, name, network, images, **arguments)
    monkeypatch.setattr(getattr(captum.attr, name), "attribute", None)  # which is not called
    found = attributions(dovision.captum, name, network, images, **arguments)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=1e-7)


def test_signatures_are_captums():
    for name in ("FeatureAblation", "Occlusion", "ShapleyValueSampling"):
        ours, theirs = (
            inspect.signature(getattr(library, name).attribute) for library in (dovision.captum, captum.attr)
        )
        assert ours == theirs


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("FeatureAblation", {"feature_mask": CELLS}),
        ("Occlusion", {"sliding_window_shapes": (3, 9, 9), "strides": (3, 8, 8)}),
        ("ShapleyValueSampling", {"feature_mask": CELLS, "n_samples": 1}),
    ],
)
def test_what_is_no_network_in_eval_mode_is_left_to_captum(name, arguments, network, images):
    for forward, target in ((lambda image: network(image), 1), (lambda image: network(image).sum(1), None)):
        assert torch.equal(*both(name, forward, images, target=target, **arguments))
    with pytest.raises(Exception, match="targets|index|output"):
        attributions(dovision.captum, name, network, images, target=9, **arguments)


def test_a_window_that_does_not_fit_is_refused_as_captum_refuses_it(network, images):
    with pytest.raises(AssertionError, match="[Ss]tride"):
        dovision.captum.Occlusion(network).attribute(images, (3, 4, 4), strides=(3, 5, 5), target=1)


def test_dropout_in_training_mode_stays_so_and_draws_as_for_captum(network, images):
    drawing = nn.Sequential(network, nn.Dropout(0.5)).eval()
    drawing[1].train()
    assert torch.equal(*both("FeatureAblation", drawing, images, target=1, feature_mask=CELLS))
    assert drawing[1].training


def test_a_tuple_is_no_target_of_several_images(network, images):
    for library in (dovision.captum, captum.attr):
        with pytest.raises(AssertionError, match="target"):
            attributions(library, "FeatureAblation", network, images[:2], target=(1, 2), feature_mask=CELLS)


@pytest.mark.parametrize("name", ["FeatureAblation", "Occlusion", "ShapleyValueSampling"])
def test_in_float32_attributions_differ_by_a_millionth_of_the_largest_logit_at_most(name, network, images):
    single = copy.deepcopy(network).float()
    cells = {"sliding_window_shapes": (3, 4, 4)} if name == "Occlusion" else {"feature_mask": CELLS}
    found, expected = both(name, single, images.float(), target=1, **cells)
    largest = single(images.float()).abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * max(largest, 1))
