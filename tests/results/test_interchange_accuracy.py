"""Interchange accuracy of a linear network worked by hand, and of a random one against a loop of hooks."""

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import dovision as dv
from dovision.interfaces import Source
from dovision.measurement.callback import ClassifierUnderTest
from dovision.results.image_tables import SOURCES_FILE
from dovision.results.interchange_accuracy import interchange_accuracy

PIXELS = torch.tensor([[0, 0], [0, 0.5], [0, 1], [1, 0], [1, 0.5], [1, 1]])  # the class, and a second feature


class Pairs(dv.Images):
    """Six images of two pixels, the first of which is the class."""

    task, shape, content = dv.Task("multiclass", ("no", "yes")), (1, 1, 2), "pairs"

    def source(self, split):
        number = torch.arange(len(PIXELS))
        return Source(lambda row: PIXELS[row].view(1, 1, 2), PIXELS[:, 0].long(), number)

    def source_table(self, split):
        return pd.DataFrame({"name": [f"{row}" for row in range(len(PIXELS))], "group": map(str, range(len(PIXELS)))})


def measured(folder, head):
    """Measure do(each of two features = its value in an image of the other class) of features that are the pixels."""
    first = nn.Linear(2, 2, bias=False)
    nn.init.eye_(first.weight)
    network = nn.Sequential(nn.Flatten(), first, head)
    classifier, images = dv.wrap(network, ["no", "yes"]), Pairs()
    intervention = dv.Activation("1", value=dv.ClassInterchange("other", seed=0))
    intervention.bind(images, "test")
    evaluation = dv.EffectEvaluation(intervention, folder, classifier=classifier)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(callbacks=[evaluation], inference_mode=False, accelerator="cpu", **quiet)
    trainer.test(ClassifierUnderTest(classifier), datamodule=dv.ImageDataModule(images), verbose=False)
    return interchange_accuracy(folder).set_index("unit"), images, network


def linear(weight, bias):
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
        head.bias.copy_(torch.tensor(bias))
    return head


def test_the_feature_that_holds_the_class_has_all_and_the_other_none(tmp_path):
    # The logit of yes is 2 a + b - 1.2: between -1.2 and -0.2 without the class's feature a, and above 0.8 with it.
    found, _, _ = measured(tmp_path, linear([[0.0, 0.0], [2.0, 1.0]], [0.0, -1.2]))
    assert found["accuracy"].to_dict() == {"c0": 1, "c1": 0}
    assert found["without_do"].to_dict() == {"c0": 0, "c1": 0}
    assert (found["images"] == 6).all()
    assert found.loc["c0", "accuracy_low"] == pytest.approx(0.025 ** (1 / 6))  # Clopper and Pearson's


@torch.no_grad()
def test_accuracies_of_a_mixed_network_are_those_of_a_loop(tmp_path):
    found, images, network = measured(tmp_path, linear([[0.0, 0.0], [1.0, 1.0]], [0.0, -0.8]))
    sources = SOURCES_FILE.read(tmp_path).set_index("sample")
    split = images.split("test")
    for unit in (0, 1):
        hits, before = [], []
        for sample, source in sources["source"].items():
            value = split[sample].image.flatten().clone()
            before.append(network[2](value).argmax() == split[source].label)
            value[unit] = split[source].image.flatten()[unit]
            hits.append(network[2](value).argmax() == split[source].label)
        assert found.loc[f"c{unit}", "accuracy"] == pytest.approx(torch.stack(hits).float().mean().item())
        assert found.loc[f"c{unit}", "without_do"] == pytest.approx(torch.stack(before).float().mean().item())
    assert 0 < found.loc["c0", "accuracy"] < 1
