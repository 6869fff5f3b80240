"""One call for each kind of thing that people come with, as a script has them: at most three lines of code each.

Each gives what the plain tensor gives.

Kinds of images are here; networks and explainers add theirs to CALLS.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

LINES = 3
SETUP = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
import dovision as dv
EFFECT = "mean_abs_expected_effect/clean"
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
mean, std = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
classifier = dv.wrap(network.eval(), ["cat", "dog", "owl"], mean, std)
bytes_ = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
pictures = [Image.fromarray(pixels) for pixels in bytes_]
images = torch.from_numpy(bytes_).movedim(-1, 1).float() / 255
labels, names, normalised = torch.arange(8) % 3, ["cat", "dog", "owl"] * 2 + ["cat", "dog"], (images - 0.5) / 0.25
for number, (name, picture) in enumerate(zip(names, pictures)):
    (folder / name).mkdir(exist_ok=True, parents=True)
    picture.save(folder / name / f"{number}.png")
larger = [picture.resize((9, 12)) for picture in pictures]
"""
CALLS = {
    "a tensor": "dv.effects(classifier, images)",
    "a pair": "dv.effects(classifier, (images, labels))",
    "names of classes": "dv.effects(classifier, (images, names))",
    "an array of bytes, channels last": "dv.effects(classifier, bytes_)",
    "an array of floats, channels first": "dv.effects(classifier, images.numpy())",
    "PIL images": "dv.attack(classifier, pictures, 'fgsm', eps='8/255')",
    "one PIL image": "dv.effect_map(classifier, pictures[0], 'pixel_grid', target='dog', scale='log_odds')",
    "PIL images of any size": "dv.effects(classifier, dv.ImageData(larger, size=8))",
    "a file": "dv.effect_map(classifier, folder / 'cat' / '3.png')",
    "a folder of a folder a class": "dv.effects(classifier, folder)",
    "a list of paths": "dv.effects(classifier, [str(path) for path in sorted((folder / 'dog').iterdir())])",
    "pairs with PIL images": "dv.explain(classifier, list(zip(pictures, names)), 'random_map')",
    "a dict": "dv.effects(classifier, {'image': images, 'label': labels})",
    "a dict of a processor": "dv.effects(classifier, {'pixel_values': normalised, 'labels': labels})",
    "a dataset": "dv.effects(classifier, TensorDataset(images, labels))",
    "a dataset without ToTensor": """
        from torchvision.datasets import ImageFolder
        dv.effects(classifier, ImageFolder(folder))""",
    "a loader": "dv.effects(classifier, DataLoader(TensorDataset(images, labels), 4))",
    "a normalised loader": """
        loader = DataLoader(TensorDataset(normalised, labels), 4)
        dv.effects(classifier, dv.ImageData(loader, mean=mean, std=std))""",
    "a data module": """
        import pytorch_lightning as pl
        module = pl.LightningDataModule.from_datasets(test_dataset=TensorDataset(images, labels), batch_size=4)
        dv.effects(classifier, module)""",
    "a dataset of Hugging Face": """
        from datasets import Dataset
        dv.effects(classifier, Dataset.from_dict({'image': pictures, 'label': names}))""",
    "its splits": """
        from datasets import Dataset, DatasetDict
        splits = DatasetDict(validation=Dataset.from_dict({'image': pictures * 4, 'label': names * 4}))
        dv.effects(classifier, dv.ImageData(splits, split='val'))""",
    "validation and test images": "dv.detect(classifier, (pictures * 5, pictures * 5), 'max_softmax', 'fgsm', eps=0.1)",
    "a trainer": """
        effects = dv.EffectEvaluation("pixel_grid")
        trainer = pl.Trainer(inference_mode=False, callbacks=[effects], default_root_dir=folder)
        trainer.test(Module(network), DataLoader(TensorDataset(images, labels), 4))[0][EFFECT]""",
}
LABELLED = "dv.effects(classifier, (images, labels))"
BY_CLASS = """
    order = [0, 3, 6, 1, 4, 7, 2, 5]
    dv.effects(classifier, (images[order], labels[order]))"""
PLAIN = {
    "a tensor": "dv.effects(classifier, images.clone())",
    "an array of bytes, channels last": "dv.effects(classifier, images)",
    "an array of floats, channels first": "dv.effects(classifier, images)",
    "PIL images": "dv.attack(classifier, images, 'fgsm', eps='8/255')",
    "one PIL image": "dv.effect_map(classifier, images[0], 'pixel_grid', target='dog', scale='log_odds')",
    "PIL images of any size": """
        tensors = [torch.from_numpy(np.array(picture)).movedim(-1, 0) for picture in larger]
        dv.effects(classifier, dv.ImageData(tensors, size=8))""",
    "a file": "dv.effect_map(classifier, images[3])",
    "a folder of a folder a class": BY_CLASS,
    "a dataset without ToTensor": BY_CLASS,
    "a list of paths": "dv.effects(classifier, images[1::3])",
    "pairs with PIL images": "dv.explain(classifier, (images, labels), 'random_map')",
    "its splits": "dv.effects(classifier, (images.repeat(4, 1, 1, 1), labels.repeat(4)))",
    "validation and test images": """
        many = images.repeat(5, 1, 1, 1)
        dv.detect(classifier, (many, many), 'max_softmax', 'fgsm', eps=0.1)""",
    "a trainer": """
        plain = dv.effects(dv.wrap(network, 3), (images, labels), "pixel_grid")
        plain.summary["conditions"]["clean"]["mean_abs_expected_effect"]["estimate"]""",
}  # of the others LABELLED
MODULE = """
import pytorch_lightning as pl
class Module(pl.LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network = network
    def forward(self, image):
        return self.network(image)
    def test_step(self, batch, batch_idx):
        pass
"""


def lines(call: str) -> list[str]:
    return [line.strip() for line in call.strip().splitlines()]


@pytest.fixture(scope="module")
def scope(tmp_path_factory) -> dict:
    names = {"folder": Path(tmp_path_factory.mktemp("pictures"))}
    exec(SETUP + MODULE, names)
    return names


def result(call: str, scope: dict) -> list[object]:
    """Tables or arrays of what the last line of a call returns."""
    names, (*first, last) = dict(scope), lines(call)
    exec("\n".join(first), names)
    value = eval(last, names)
    tables = [getattr(value, name, None) for name in ("samples", "to_pandas")]
    return [table() if callable(table) else table for table in tables if table is not None] or [value]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_at_most_three_lines_gives_what_the_plain_tensor_gives(name, scope):
    call = CALLS[name]
    for library in re.findall(r"from (datasets|torchvision)", call):
        pytest.importorskip(library)
    assert len(lines(call)) <= LINES
    got, expected = result(call, scope), result(PLAIN.get(name, LABELLED), scope)
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=False, atol=1e-6, rtol=0)
        else:
            np.testing.assert_allclose(one, other, atol=1e-6)
