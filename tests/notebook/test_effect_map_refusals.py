"""Refusals of the notebook API, naming the argument, the rule, what was got and the remedy."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import dovision as dv

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GRID = dv.PixelGrid(2, 2)


def network(outputs=3, *last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, outputs), *last)


class Returning(nn.Module):
    """A network whose output is made into something else."""

    def __init__(self, change):
        super().__init__()
        self.network = network()
        self.change = change

    def forward(self, image):
        return self.change(self.network(image))


CLASSIFIER = dv.wrap(network(), 3)

WRAPPED = {
    "network: function": ({"network": network}, "got the function network, which makes one. Call it: network(...)"),
    "network: class": ({"network": nn.ReLU}, "got the class ReLU itself. Call it: ReLU(...)"),
    "network: nothing": ({"network": None}, "network must be a torch module, a function of images or a path, got None"),
    "network: wrapped": ({"network": CLASSIFIER}, "got a Classifier, which needs no wrapping"),
    "classes: none": ({"classes": 0}, "classes must be a whole number of at least 1, got 0"),
    "classes: fraction": ({"classes": 3.0}, "classes must be a list of names, got 3.0"),
    "classes: one text": ({"classes": "abc"}, "classes must be a list of names, got 'abc'"),
    "classes: twice": ({"classes": ["a", "b", "a"]}, "class names must differ, got 'a' more than once"),
    "mean: 8 bits": ({"mean": [123.7, 116.3, 103.5]}, "mean must be in [0, 1], one number or one a channel, got"),
    "std: 8 bits": ({"std": [58.4]}, "White is 1: divide what is meant for 8-bit pixels by 255"),
    "std: zero": ({"std": [0.0]}, "std must be above 0"),
    "std: channels": ({"mean": [0.5] * 3, "std": [0.2] * 2}, "must be of the same channels, got 3 and 2 numbers"),
    "task": ({"task": "softmax"}, "task must be one of multiclass, multilabel, got 'softmax'"),
    "weights": ({"weights": "DEFAULT"}, "weights must be torchvision's, an enum's member, got 'DEFAULT'"),
}


MEASURED = {
    "classifier: network": ({"classifier": network()}, "as wrap(network, classes) makes one, got an object of class"),
    "image: empty": ({"image": IMAGE[:0]}, "images must hold at least one image of at least one pixel, got shape (0"),
    "image: sparse": ({"image": IMAGE.to_sparse()}, "images must be a dense tensor, got torch.sparse_coo. Convert it:"),
    "image: nested": (
        {"image": torch.nested.nested_tensor(list(IMAGE), layout=torch.strided)},
        "images must be a dense tensor, got a nested one. Stack tensors of one shape: torch.stack(tensors).",
    ),
    "image: double": ({"image": IMAGE.double()}, "image must have the network's type, torch.float32, got"),
    "intervention: attack": ({"intervention": dv.FGSM(0.1)}, "intervention must be an intervention, or the name of"),
    "target: beyond": ({"target": 99}, "target must be the name of a class or its number, 0 to 2, got 99"),
    "target: name": ({"target": "3"}, "target must be one of 0, 1, 2, got '3'"),
    "target: list": ({"target": [0, 1, 2]}, "target must be one class, or one for each of 2 images, got 3"),
    "scale": ({"scale": "logit"}, "scale must be one of probability, log_odds, got 'logit'"),
    "target: floats": ({"target": torch.zeros(2)}, "target must be the name of a class or its number, 0 to 2, got 0.0"),
    "label: beyond": ({"label": torch.tensor([0, 3])}, "labels must be the number of a class, 0 to 2, or -1 where it"),
    "label: shape": ({"label": torch.zeros(2, 3)}, "labels must be int64 of shape (2,), got torch.float32 of shape"),
    "chunk": ({"chunk": 0}, "chunk must be a whole number of at least 1, got 0"),
}


GIVEN = {"classifier": CLASSIFIER, "image": IMAGE, "intervention": GRID}
CALLS = [
    *((dv.wrap, {"network": network(), "classes": 3} | own, message) for own, message in WRAPPED.values()),
    *((dv.effect_map, GIVEN | own, message) for own, message in MEASURED.values()),
]


@pytest.mark.parametrize(("function", "arguments", "message"), CALLS, ids=[*WRAPPED, *MEASURED])
def test_arguments_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(**arguments)


def test_logits_that_an_intervention_makes_infinite_are_refused():
    pole = dv.wrap(Returning(lambda y: y), 3)
    pole.network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Reciprocal())
    with pytest.raises(ValueError, match="logits after the intervention must be finite, got nan or inf for image 0"):
        dv.effect_map(pole, IMAGE, dv.PixelGrid(1, 1))


@pytest.mark.parametrize("bits", [torch.bfloat16, torch.float16])
def test_effects_are_not_measured_in_16_bits(bits):
    classifier = dv.wrap(Returning(lambda y: y), 3)
    for measure, given in ((dv.effect_map, GRID), (dv.effects, GRID), (dv.explain, "rise")):
        with torch.autocast("cpu", bits), pytest.raises(ValueError, match="in float32 or float64, got torch.aut"):
            measure(classifier, IMAGE, given)
    body = dv.wrap(Returning(lambda y: y.float()).to(bits), 3)
    for each in (dv.effect_map, dv.effects):
        with pytest.raises(ValueError, match=f"got weights of {bits}.*network.float"):
            each(body, IMAGE, GRID)
    half = dv.wrap(Returning(lambda y: y.to(bits)), 3)
    with pytest.raises(ValueError, match=f"computed in float32 or float64, got {bits}.*precision='32-true'"):
        dv.effect_map(half, IMAGE, GRID)


@torch.autocast("cpu", torch.bfloat16)
def mixed(x):
    return nn.functional.linear(x.mean((2, 3)), torch.eye(3)).float()


@pytest.mark.parametrize("measure", [dv.effect_map, dv.effects])
def test_16_bits_inside_a_forward_are_refused_by_the_operators_name(measure):
    with pytest.raises(ValueError, match=r"got torch.bfloat16 from aten\.\S+ inside its forward.*leave torch.autocast"):
        measure(dv.wrap(mixed, 3), IMAGE, GRID)


class Reciprocal(nn.Module):
    def forward(self, x):
        return 1 / x


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize(("last", "word"), [(nn.Softmax(1), "softmax"), (nn.Sigmoid(), "sigmoid")])
def test_outputs_that_are_probabilities_are_warned_of(task, last, word):
    with pytest.warns(UserWarning, match=f"as if it ended in a {word}.* Set output='probability'") as caught:
        dv.effect_map(dv.wrap(network(3, last), 3, task=task), IMAGE, GRID)
    assert caught[0].filename == __file__


def test_logits_that_sum_to_1_for_an_image_by_chance_are_not_warned_of():
    total = dv.wrap(lambda image: image.sum((2, 3)) * torch.tensor([0, 1]), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.effect_map(total, torch.full((1, 1, 2, 2), 0.25), GRID)


TARGETS = [["eel", "dog"], [2, "dog"], torch.tensor([2, 1], dtype=torch.int32), np.array([2, 1])]
EEL_AND_DOG = dv.wrap(network(), ["cat", "dog", "eel"], 0, 1)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_target_is_a_class_or_one_for_each_image(target):
    eel, dog = (dv.effect_map(EEL_AND_DOG, IMAGE, GRID, target=one) for one in ("eel", np.int64(1)))
    measured = dv.effect_map(EEL_AND_DOG, IMAGE, GRID, target=target)
    assert torch.equal(measured.map, torch.stack([eel.map[0], dog.map[1]]))


def test_each_image_has_a_target_of_its_own_in_maps_attacks_and_effects():
    data, target, unseen = torch.cat([IMAGE, IMAGE / 2, IMAGE / 4]), ["eel", "dog"] * 3, {"progress": False}
    explained = dv.explain(EEL_AND_DOG, data, "random_map", target=target, **unseen)
    assert explained.pairs["class"].tolist() == target
    pgd = dv.component("attack", "pgd", {"eps": 0.9})
    attacked = dv.attack(EEL_AND_DOG, data, pgd, target=target, **unseen).images()
    assert EEL_AND_DOG(attacked).argmax(1).tolist() == [2, 1] * 3
    assert torch.equal(dv.attack(EEL_AND_DOG, data, "pgd", 0.9, target="dog", **unseen).images()[1::2], attacked[1::2])
    measured = dv.effects(EEL_AND_DOG, data, GRID, target=target, **unseen).to_pandas()
    expected = dv.effect_map(EEL_AND_DOG, data, GRID).effect[range(6), :, [2, 1] * 3].mean(0)
    np.testing.assert_allclose(measured["mean"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("measure", "arguments"), [(dv.explain, ("rise",)), (dv.attack, ("pgd", 0.1)), (dv.effects, (GRID,))]
)
@pytest.mark.parametrize(
    ("target", "message"),
    [([0], "one for each of 2 images, got 1"), (["eel", "dgo"], "got 'dgo'. Did you mean dog?"), (3, "0 to 2, got 3")],
)
def test_a_target_that_is_no_class_is_refused_everywhere(measure, arguments, target, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        measure(EEL_AND_DOG, IMAGE, *arguments, target=target)


def test_images_that_require_a_gradient_or_come_from_inference_mode_are_measured_as_others():
    expected = dv.effect_map(CLASSIFIER, IMAGE, GRID)
    fooled = dv.Perturbation(dv.FGSM(0.1))
    attacked = dv.effect_map(CLASSIFIER, IMAGE, fooled).effect
    assert torch.equal(dv.effect_map(CLASSIFIER, IMAGE.clone().requires_grad_(), GRID).map, expected.map)
    with torch.inference_mode():
        inference = IMAGE.clone()
        assert torch.equal(dv.effect_map(CLASSIFIER, inference, GRID).effect, expected.effect)
        assert torch.equal(dv.effect_map(CLASSIFIER, inference, fooled).effect, attacked)
    assert not expected.map.requires_grad
    assert all(parameter.grad is None for parameter in CLASSIFIER.parameters())


def test_a_network_of_another_type_takes_images_of_its_own():
    classifier = dv.wrap(network().double(), 3, mean=[0.5], std=[0.25])
    found = dv.effect_map(classifier, IMAGE.double(), GRID)
    single = dv.effect_map(dv.wrap(network(), 3, 0.5, 0.25), IMAGE, GRID)
    torch.testing.assert_close(found.effect.float(), single.effect)
    with pytest.raises(ValueError, match="type, torch.float64, got torch.float32"):
        dv.effect_map(classifier, IMAGE, GRID)
