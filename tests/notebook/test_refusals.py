"""What effects, explain, attack, detect and compare refuse, by enumeration: a sentence each, before anything runs."""

import re
import tempfile

import matplotlib.text
import numpy as np
import pytest
import torch
from captum.attr import Occlusion, Saliency
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, StackDataset, TensorDataset

import dovision as dv

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
torch.manual_seed(0)
CLASSIFIER = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"], [0.1], [0.9])
ON_CODE = dv.EffectProfile({"code": dv.Activation("code")}, "log_odds", True, 0.01)
PAIRS = TensorDataset(IMAGES, LABELS)
GIVEN = {"classifier": CLASSIFIER, "data": IMAGES}
CALLS = {
    dv.effects: {**GIVEN, "intervention": dv.PixelGrid(2, 2)},
    dv.explain: {**GIVEN, "explainers": "center_map"},
    dv.attack: {**GIVEN, "attack": "fgsm"},
    dv.detect: {**GIVEN, "data": (IMAGES, IMAGES), "detectors": "max_softmax", "attacks": "fgsm"},
}


class Endless(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], LABELS[0]


@pytest.fixture
def occupied(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


DATA = {
    "text": ("digits", "images must be a file or a folder that exists, got 'digits'."),
    "empty": (tempfile.mkdtemp(), "images must be a folder with pictures, got "),
    "nothing": (None, "numbers without a mask, PIL images or paths, or a list of these, got None."),
    "labels first": ([*zip(LABELS.tolist(), IMAGES, strict=True)], "Images come first: (images, labels)."),
    "some groups": (dv.Batch(IMAGES, LABELS, LABELS, LABELS - 1), "group of a Batch must be negative for all images"),
    "one number": (dv.Batch(IMAGES, *[LABELS] * 3), "sample of a Batch must be another number for each image, got one"),
    "masked": (np.ma.masked_greater(IMAGES.numpy(), 0.5), "NumPy arrays of numbers without a mask, PIL"),
    "another size": ([*IMAGES, IMAGES[0, :, 1:]], "images must have one shape (C, H, W), got (1, 8, 8) and (1, 7, 8)."),
    "size of an item": (
        StackDataset([*IMAGES, IMAGES[0, :, 1:]]),
        "shape (C, H, W), got (1, 8, 8) and (1, 7, 8). Give the s",
    ),
    "dates": ((IMAGES, np.array(["2026"] * 6, "M8[D]")), "labels must be numbers or names of classes, not both, got"),
    "objects": (IMAGES.numpy().astype(object), "paths, or a list of these, got an object of class ndarray."),
    "none": ([], "images must be at least one, got none."),
    "to 255": (IMAGES * 255, "Bring it to [0, 1] by its white level: image.float() / 255"),
    "12 bits": (IMAGES.mul(4000).short(), "by its white level: image.float() / 255 for 8 bits, / 4095 for 12 bits,"),
    "grey arrays": (IMAGES[:, 0].numpy(), "images must have one axis of channels, of 1, 3, 4, got shape (6, 8, 8)."),
    "sizes": ([Image.new("L", (8, 8)), Image.new("L", (8, 9))], "Give the size that they are brought to"),
    "mode": (Image.new("F", (8, 8)), "an image must have pixels of a known range, but is of mode F"),
    "keys": ({"pixels": IMAGES}, "a mapping must have its images under one of pixel_values, image, images, img, got"),
    "coarse": ({"img": IMAGES, "fine_label": LABELS}, "a mapping must have its labels under one of label, labels, "),
    "not processed": ({"pixel_values": IMAGES}, "pixel_values must be normalised by the classifier's mean and std, bu"),
    "some labels": ([(IMAGES[0], 1), (IMAGES[1], None)], "images must all have a label, or none, got 1 of 2 with one."),
    "label": ((IMAGES, list("abcabd")), "labels must be one of a, b, c, got 'd'"),
    "splits": ({"train": PAIRS, "dev": PAIRS}, "split must be one of train, dev, got 'test'"),
    "normalised": (IMAGES * 4 - 2, "images must lie in [0, 1]"),
    "endless": (Endless(), "images must have a length, got an iterable dataset. Give a DataLoader of it."),
    "labels": ((IMAGES, LABELS + 1), "labels must be the number of a class, 0 to 2, or -1 where it is not known, got"),
    "size": (torch.rand(2, 1, 9, 9), "(1x81 and 64x3). Bring them to what it takes: to_batch(images, size=.., chan"),
}


@pytest.mark.parametrize("function", [dv.effects, dv.attack, dv.explain], ids=lambda function: function.__name__)
@pytest.mark.parametrize(("data", "message"), DATA.values(), ids=DATA)
def test_images_are_refused(function, data, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(**CALLS[function] | {"data": data})


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_a_plain_network_and_a_folder_with_files_are_refused(function, occupied):
    with pytest.raises(ValueError, match="classifier must be a Classifier, as wrap"):
        function(**CALLS[function] | {"classifier": CLASSIFIER.network})
    with pytest.raises(ValueError, match=re.escape(f"folder must be new or empty, got {occupied}, which is not.")):
        function(**CALLS[function] | {"folder": occupied})
    assert [path.name for path in occupied.iterdir()] == ["notes.txt"]


REFUSED = {
    "effects, intervention": (dv.effects, {"intervention": "grid"}, "intervention must be one of activation, "),
    "effects, attack": (dv.effects, {"attack": "pdg"}, "got 'pdg'. Did you mean pgd?"),
    "effects, eps alone": (dv.effects, {"eps": 0.1}, "eps must be given once, with the name of an attack, got 0.1"),
    "effects, eps twice": (dv.effects, {"attack": dv.FGSM(0.1), "eps": 0.1}, "got 0.1 beside one that has its own."),
    "effects, eps": (dv.effects, {"attack": "fgsm", "eps": 8}, "eps must be in [0, 1] pixel units, got 8."),
    "effects, target": (dv.effects, {"target": "d"}, "target must be one of a, b, c, got 'd'"),
    "effects, device": (dv.effects, {"device": "cuda:99"}, "device must be one of this machine, got 'cuda:99': "),
    "attack, batch_size": (dv.attack, {"data": dv.ImageData(IMAGES), "batch_size": 2}, "batch_size must be given once"),
    "effects, site": (dv.effects, {"intervention": dv.Activation(site="7")}, "site"),
    "explain, none": (dv.explain, {"explainers": []}, "explainer must name at least one, got none."),
    "explain, layer": (dv.explain, {"explainers": "grad_cam"}, "the default layer of a Sequential is not known"),
    "explain, function": (dv.explain, {"explainers": Saliency(torch.sum)}, "got Saliency of another function"),
    "explain, arguments": (dv.explain, {"explainers": Occlusion}, "dv.Captum(captum.attr.Occlusion, arguments={..: .."),
    "explain, both": (dv.explain, {"target": "a", "settings": dv.MapSettings()}, "target must be given once, got 'a'"),
    "explain, cells": (dv.explain, {"settings": dv.MapSettings(cells=9)}, "cells must be at most the image's 8 pixels"),
    "attack, none": (dv.attack, {"attack": "none"}, "attack must have an epsilon, got none."),
    "attack, several": (dv.attack, {"attack": ["pgd", "fgsm"]}, "attack must be one, got 2."),
    "attack, nothing": (dv.attack, {"attack": None}, "attack must be an attack, or the name of one, such as 'pgd'"),
    "attack, eps": (dv.attack, {"eps": "8/2555/3"}, 'eps must be a number or a fraction such as "8/255"'),
    "detect, data": (dv.detect, {"data": IMAGES}, "data must be a dataset of dovision, or a pair of"),
    "detect, pair": (dv.detect, {"data": (IMAGES, LABELS)}, "got images and labels. Give each split as such a pair"),
    "detect, detector": (dv.detect, {"detectors": "softmax"}, "Did you mean max_softmax"),
    "detect, code": (dv.detect, {"detectors": ON_CODE}, "which reads a code."),
    "detect, reference": (dv.detect, {"reference": "entropy"}, "reference must be one of max_softmax, got 'entropy'."),
    "detect, none": (dv.detect, {"attacks": ["fgsm", "none"]}, "attacks must have an epsilon, got none."),
    "sites": (dv.sites, {"network": CLASSIFIER, "shape": (3, 9, 9)}, "must take images of shape (3, 9, 9), but: "),
    "detect, shapes": (dv.detect, {"data": (IMAGES, IMAGES[..., 1:])}, "images must have one shape (C, H, W), got (1"),
}


HELD = {  # by ImageData
    "labels": ({"images": PAIRS, "labels": LABELS}, "labels must come with images alone; TensorDataset has its own"),
    "split": ({"images": dv.component("dataset", "digits"), "split": "all"}, "split must be one of train, val, test, "),
    "mean": ({"images": IMAGES, "mean": [124, 117, 104]}, "mean and std must be in [0, 1], one number or one a"),
    "size": ({"images": IMAGES, "size": "8"}, "shape must be three whole numbers (channels, height, width)"),
    "most": ({"images": IMAGES, "most": 0}, "most must be a whole number of at least 1, got 0"),
    "batch_size": ({"images": IMAGES, "batch_size": 0.5}, "batch_size must be a whole number of at least 1, got 0.5"),
    "group of a batch": (
        {"images": dv.Batch(IMAGES, *[LABELS] * 2, LABELS / 2)},
        "group of a Batch must be int64, one",
    ),
    "mean of a batch": ({"images": dv.Batch(IMAGES, *[LABELS] * 3), "mean": 0.5}, "mean must be None for Batch, "),
    "std of a batch": ({"images": dv.Batch(IMAGES, *[LABELS] * 3), "std": 0.5}, "std must be None for Batch, "),
    "size of a loader": ({"images": DataLoader(PAIRS), "size": 4}, "size must be None for DataLoader, which has its b"),
    "size of a dataset": ({"images": dv.component("dataset", "digits"), "size": 0.5}, "size must be None for Digits, "),
}
CASES = [*REFUSED.values(), *((dv.ImageData, *case) for case in HELD.values())]


@pytest.mark.parametrize(("function", "arguments", "message"), CASES, ids=[*REFUSED, *HELD])
def test_arguments_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(**CALLS.get(function, {}) | arguments)


def test_compare_and_results_refuse():
    one, flipped = (dv.effects(CLASSIFIER, images, dv.PixelGrid(1, 2)) for images in (IMAGES, IMAGES.flip(0)))
    labelled = [dv.effects(CLASSIFIER, (IMAGES, LABELS.roll(by)), dv.PixelGrid(1, 2)) for by in (0, 1)]
    maps = dv.explain(CLASSIFIER, IMAGES, "center_map")
    attacked = dv.attack(CLASSIFIER, torch.rand(24, 1, 8, 8), dv.FGSM([0.1, "8/255"]))
    assert {*attacked.to_pandas().query("metric == 'accuracy'")["reason"]} == {"nothing was measured"}
    refused = {
        "results must be two or more of one kind, by name, or one of detect or explain, got MeasuredEffects.": (one,),
        "by name, or one of detect or explain, got none.": ({},),
        "got AttackedImages and MeasuredEffects.": ({"a": one, "b": attacked},),
        "got sample 0 of label 0 in 'a' and sample 0 of label 2 in 'b'.": ({"a": labelled[0], "b": labelled[1]},),
        "got an image as sample 5 in 'a' and an image as sample 0 in 'b'.": ({"a": one, "b": flipped},),
        "results['b'] must be a result of effects(...), got None.": ({"a": one, "b": None},),
        "reference must be one of a, b, got 'c'.": ({"a": one, "b": one}, "c"),
        "results must have two or more explainers, got center_map alone.": (maps,),
    }
    for message, arguments in refused.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            dv.compare(*arguments)
    with pytest.raises(ValueError, match=re.escape("eps must name one of the attack's epsilons")):
        attacked.images()
    with pytest.raises(ValueError, match="eps must be one of the attack's epsilons, .*, got 0.3."):
        attacked.images(0.3)


def test_the_classifier_stays_as_it_was_also_after_a_failure():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 3))
    classifier = dv.wrap(network, 3)
    network[1].eval()
    modes = [module.training for module in classifier.modules()]
    dv.effects(classifier, IMAGES, dv.PixelGrid(1, 2))
    with pytest.raises(ValueError, match="labels must be the number of a class"):
        dv.effects(classifier, DataLoader(TensorDataset(IMAGES, LABELS + 1)), dv.PixelGrid(1, 2))
    assert [module.training for module in classifier.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in classifier.parameters())
    with torch.inference_mode():
        dv.effects(classifier, IMAGES.clone(), dv.PixelGrid(1, 2), attack="fgsm")


def test_an_attack_with_one_epsilon_needs_no_other_and_one_with_several_does():
    classifier, digits = dv.example()
    attack = dv.FGSM("8/255")
    assert attack(digits, classifier).equal(attack(digits, classifier, 8 / 255))
    with pytest.raises(ValueError, match=re.escape("eps must be one of the attack's, 0.1, 0.2, got None.")):
        dv.FGSM([0.1, 0.2])(digits, classifier)


@pytest.fixture(scope="module")
def digits():
    classifier, batch = dv.example()
    return classifier, (batch.image, batch.label)


def test_an_attack_shows_clean_images_above_attacked_ones_and_its_success(digits):
    found = dv.attack(*digits, "fgsm", eps=["8/255", 0.3])
    assert found.findings == ["FGSM at Linf epsilon 0.3 turned 8 of 8 right answers."]
    figure = found.plot()
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["clean", "epsilon 8/255", "epsilon 0.3"]
    bold = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_weight() == "bold"]
    drawn = {axes.get_xlabel() for axes in figure.axes}
    assert bold
    assert {text.get_text() for text in bold} <= drawn
    assert not {"overlay", "average_effects"} & {*found.figures}
    assert found.findings[0] in found._repr_html_()


def test_maps_are_evidence_and_have_no_effects_beside_them_unless_asked_for(digits):
    found = dv.explain(*digits, ["integrated_gradients", "brightness_map"])
    assert found.findings == []
    label = found.plot().axes[-1].get_ylabel()
    assert label == "against \N{LEFTWARDS ARROW} relative evidence \N{RIGHTWARDS ARROW} for"
    assert "average_effects" not in found.figures
    both = dv.explain(*digits, "center_map", intervention=dv.PixelGrid(2, 2))
    assert "average_effects" in both.figures
    assert any("black over" in sentence for sentence in both.findings)
