"""One call for each kind of thing that people come with, as a script has them: at most three lines of code each.

Each gives what the plain tensor, the plain network or the library itself gives. The file needs nothing of this
repository: `pytest test_adapters.py` runs it in an empty folder, beside a wheel (tests/test_wheel.py).
"""

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

LINES = 3
SETUP = """
import numpy as np, pytorch_lightning as pl, re, torch, torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import dovision as dv
from dovision.config.settings import example_photograph
EFFECT = "mean_abs_expected_effect/clean"
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
mean, std = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
classifier, plain = dv.wrap(network, ["cat", "dog", "owl"], mean, std), dv.wrap(network, 3)
bytes_ = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
pictures = [Image.fromarray(pixels) for pixels in bytes_]
images = torch.from_numpy(bytes_).movedim(-1, 1).float() / 255
labels, names, normalised = torch.arange(8) % 3, ["cat", "dog", "owl"] * 2 + ["cat", "dog"], (images - 0.5) / 0.25
for number, (name, picture) in enumerate(zip(names, pictures)):
    (folder / name).mkdir(exist_ok=True, parents=True)
    picture.save(folder / name / f"{number}.png")
larger = [picture.resize((9, 12)) for picture in pictures]
pretrained = dv.wrap(network, ["cat", "dog", "owl"], mean, std)
pretrained.preprocessing = dv.Preprocessing(8, dv.Resize(size=10, interpolation="bicubic"))
class Module(pl.LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network = network
    def forward(self, image):
        return self.network(image)
    def test_step(self, batch, batch_idx):
        pass
class Answer(nn.Module):
    def forward(self, image):
        return {"loss": None, "logits": network(image), "features": image.flatten(1)}
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
photo, grid = dv.to_batch(example_photograph(), 64), dv.PixelGrid(2, 2)
resnet = torchvision.models.resnet18(weights=None).eval()
for module in resnet.modules():
    if isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.running_var, 0.5, 1.5)
nn.init.normal_(resnet.fc.weight, 0, 0.2)
"""
LABELLED = "dv.effects(classifier, (images, labels))"
BY_CLASS = """
    order = [0, 3, 6, 1, 4, 7, 2, 5]
    dv.effects(classifier, (images[order], labels[order]))"""
PHOTO = "dv.effect_map(dv.wrap(resnet, 1000, *IMAGENET), photo, grid)"
CALLS = {  # a call, and the plain one
    "a tensor": ("dv.effects(classifier, images)", "dv.effects(classifier, images.clone())"),
    "a pair, on another device, in smaller batches": (
        "dv.effects(classifier, (images, labels), batch_size=3, device='cpu', progress=False, seed=0)",
        LABELLED,
    ),
    "names of classes": ("dv.effects(classifier, (images, names))", LABELLED),
    "an array of bytes, channels last": ("dv.effects(classifier, bytes_)", "dv.effects(classifier, images)"),
    "an array of floats, channels first": ("dv.effects(classifier, images.numpy())", "dv.effects(classifier, images)"),
    "PIL images": (
        "dv.attack(classifier, pictures, 'fgsm', eps='8/255')",
        "dv.attack(classifier, images, 'fgsm', eps='8/255')",
    ),
    "one PIL image, in log-odds": (
        "dv.effect_map(classifier, pictures[0], 'pixel_grid', target='dog', scale='log_odds')",
        "dv.effect_map(classifier, images[0], 'pixel_grid', target='dog', scale='log_odds')",
    ),
    "PIL images of another size": (
        "dv.effects(classifier, dv.ImageData(larger, size=8))",
        """
        tensors = [torch.from_numpy(np.array(picture)).movedim(-1, 0) for picture in larger]
        dv.effects(classifier, dv.ImageData(tensors, size=8))""",
    ),
    "PIL images of any size, by the weights' own preprocessing": (
        "dv.effects(pretrained, larger + pictures)",
        "dv.effects(classifier, dv.to_batch(larger + pictures, size=pretrained.preprocessing))",
    ),
    "a file": ("dv.effect_map(classifier, folder / 'cat' / '3.png')", "dv.effect_map(classifier, images[3])"),
    "a folder of a folder a class": ("dv.effects(classifier, folder)", BY_CLASS),
    "a list of paths": (
        "dv.effects(classifier, [str(path) for path in sorted((folder / 'dog').iterdir())])",
        "dv.effects(classifier, images[1::3])",
    ),
    "pairs with PIL images": (
        "dv.explain(classifier, list(zip(pictures, names)), 'random_map')",
        "dv.explain(classifier, (images, labels), 'random_map')",
    ),
    "a dict": ("dv.effects(classifier, {'image': images, 'label': labels})", LABELLED),
    "a dict of a processor": ("dv.effects(classifier, {'pixel_values': normalised, 'labels': labels})", LABELLED),
    "a dataset": ("dv.effects(classifier, TensorDataset(images, labels))", LABELLED),
    "a dataset without ToTensor": (
        """
        from torchvision.datasets import ImageFolder
        dv.effects(classifier, ImageFolder(folder))""",
        BY_CLASS,
    ),
    "a loader": ("dv.effects(classifier, DataLoader(TensorDataset(images, labels), 4))", LABELLED),
    "a loader of dicts": (
        """
        items = [{'image': image, 'labels': label} for image, label in zip(images, labels)]
        dv.effects(classifier, DataLoader(items, 4))""",
        LABELLED,
    ),
    "a normalised loader": (
        """
        loader = DataLoader(TensorDataset(normalised, labels), 4)
        dv.effects(classifier, dv.ImageData(loader, mean=mean, std=std))""",
        LABELLED,
    ),
    "a data module": (
        """
        module = pl.LightningDataModule.from_datasets(test_dataset=TensorDataset(images, labels), batch_size=4)
        dv.effects(classifier, module)""",
        LABELLED,
    ),
    "a data module of this package": (
        "dv.effects(classifier, dv.ImageDataModule({'test': (pictures, names)})).to_pandas()",
        f"{LABELLED}.to_pandas()",
    ),
    "a dataset of Hugging Face": (
        """
        from datasets import Dataset
        dv.effects(classifier, Dataset.from_dict({'image': pictures, 'label': names}))""",
        LABELLED,
    ),
    "its splits": (
        """
        from datasets import Dataset, DatasetDict
        splits = DatasetDict(validation=Dataset.from_dict({'image': pictures * 4, 'label': names * 4}))
        dv.effects(classifier, dv.ImageData(splits, split='val'))""",
        "dv.effects(classifier, (images.repeat(4, 1, 1, 1), labels.repeat(4)))",
    ),
    "validation and test images": (
        "dv.detect(classifier, (pictures * 5, pictures * 5), 'max_softmax', 'fgsm', eps=0.1)",
        """
        many = images.repeat(5, 1, 1, 1)
        dv.detect(classifier, (many, many), 'max_softmax', 'fgsm', eps=0.1)""",
    ),
    "two results": (
        "dv.compare({size: dv.effects(classifier, pictures, dv.PixelGrid(size, size)) for size in (2, 4)})",
        "dv.compare({size: dv.effects(classifier, images, dv.PixelGrid(size, size)) for size in (2, 4)})",
    ),
    "a trainer": (
        """
        effects = dv.EffectEvaluation("pixel_grid")
        trainer = pl.Trainer(inference_mode=False, callbacks=[effects], default_root_dir=folder)
        trainer.test(Module(network), DataLoader(TensorDataset(images, labels), 4))[0][EFFECT]""",
        """
        result = dv.effects(plain, (images, labels), "pixel_grid")
        result.summary["conditions"]["clean"]["mean_abs_expected_effect"]["estimate"]""",
    ),
    "a network of torchvision": (
        f"{PHOTO}.effect[:, 0]",
        """
        treated = photo * nn.functional.pad(torch.zeros(32, 32), (0, 32, 0, 32), value=1)
        before, after = (resnet(torchvision.transforms.functional.normalize(x, *IMAGENET)) for x in (photo, treated))
        after.softmax(1) - before.softmax(1)""",
    ),
    "a network of timm": ("dv.effect_map(dv.wrap(in_timm, 1000, *IMAGENET), photo, grid)", PHOTO),
    "a network of transformers, with its processor": (
        "dv.effect_map(dv.wrap(in_transformers, processor=processor), photo, grid)",
        PHOTO,
    ),
    "a network that returns a dict": ("dv.effects(dv.wrap(Answer(), 3), images)", "dv.effects(plain, images)"),
    "a callable of tensors": (
        "dv.effect_map(dv.wrap(lambda image: resnet(image), 1000, *IMAGENET), photo, grid)",
        PHOTO,
    ),
    "a callable that returns arrays": (
        "dv.effect_map(dv.wrap(lambda image: resnet(image).detach().numpy(), 1000, *IMAGENET), photo, grid)",
        PHOTO,
    ),
    "a session of onnxruntime": (
        """
        session = onnxruntime.InferenceSession(str(onnx_file))
        dv.effect_map(dv.wrap(session, 1000, *IMAGENET), photo, grid)""",
        PHOTO,
    ),
    "an ONNX file": ("dv.effect_map(dv.wrap(onnx_file, None, *IMAGENET), photo, grid)", PHOTO),
    "CLIP, with prompts as classes": (
        """
        prompts = lambda image: clip(pixel_values=image, **tokens).logits_per_image
        classifier = dv.wrap(prompts, ["a photo of a cat", "a photo of a dog"], *IMAGENET)
        dv.effect_map(classifier, photo[:, :, :32, :32], grid).effect""",
        "dv.effect_map(dv.wrap(clip_network, 2, *IMAGENET), photo[:, :, :32, :32], grid).effect",
    ),
}
MADE = {  # what a call names that needs a library: it, and how it is made
    "in_timm": (
        "timm",
        """
        import timm
        in_timm = timm.create_model("resnet18").eval()
        in_timm.load_state_dict(resnet.state_dict())""",
    ),
    "in_transformers": (
        "transformers",
        """
        import transformers
        sizes = {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
        config = transformers.ResNetConfig(**sizes, id2label={n: str(n) for n in reversed(range(1000))})
        in_transformers = transformers.ResNetForImageClassification(config)
        in_transformers.load_state_dict({in_hf(name): tensor for name, tensor in resnet.state_dict().items()})
        in_transformers.eval()
        scale = {"image_mean": IMAGENET[0], "image_std": IMAGENET[1]}
        processor = transformers.ConvNextImageProcessor(**scale, size={"shortest_edge": 224})""",
    ),
    "onnx_file": (
        "onnxruntime",
        """
        import onnxruntime
        onnx_file = folder / "network.onnx"
        torch.onnx.export(resnet, (torch.zeros(2, 3, 64, 64),), str(onnx_file), dynamo=False)""",
    ),
    "clip": (
        "transformers",
        """
        import transformers
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        vision = {**text, "image_size": 32, "patch_size": 8}
        sizes = {"text_config": {**text, "vocab_size": 20, "eos_token_id": 19}, "vision_config": vision}
        clip = transformers.CLIPModel(transformers.CLIPConfig(**sizes, projection_dim=8)).eval()
        tokens = {"input_ids": torch.tensor([[1, 2, 19], [1, 3, 19]]), "attention_mask": torch.ones(2, 3).long()}
        class Prompts(nn.Module):
            def forward(self, image):
                return clip(pixel_values=image, **tokens).logits_per_image
        clip_network = Prompts()""",
    ),
    "datasets": ("datasets", ""),
}


def in_hf(name: str) -> str:
    """Name of a tensor of torchvision's ResNet-18 in that of transformers."""
    name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
    name = re.sub(r"^fc\.", "classifier.1.", name)
    name = re.sub(r"^layer(\d)\.", lambda match: f"resnet.encoder.stages.{int(match[1]) - 1}.layers.", name)
    name = re.sub(r"\.conv(\d)\.", lambda match: f".layer.{int(match[1]) - 1}.convolution.", name)
    name = re.sub(r"\.bn(\d)\.", lambda match: f".layer.{int(match[1]) - 1}.normalization.", name)
    return name.replace("downsample.0", "shortcut.convolution").replace("downsample.1", "shortcut.normalization")


def lines(call: str) -> list[str]:
    return [line.strip() for line in call.strip().splitlines()]


@pytest.fixture(scope="module")
def scope(tmp_path_factory) -> dict:
    torch.set_num_threads(1)
    names = {"folder": Path(tmp_path_factory.mktemp("pictures")), "in_hf": in_hf, "results": {}}
    exec(SETUP, names)
    return names


def result(call: str, scope: dict) -> list[object]:
    """Tables or arrays of what the last line of a call returns."""
    for name, (library, code) in MADE.items():
        if re.search(rf"\b{name}\b", call) and name not in scope:
            pytest.importorskip(library, reason=f"{library} is not installed")
            exec(textwrap.dedent(code), scope)
    names, (*first, last) = dict(scope), lines(call)
    exec("\n".join(first), names)
    value = eval(last, names)
    if isinstance(value, torch.Tensor):
        return [value.detach().numpy()]
    tables = [getattr(value, name, None) for name in ("samples", "to_pandas")]
    return [table() if callable(table) else table for table in tables if table is not None] or [value]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_at_most_three_lines_gives_what_the_plain_one_gives(name, scope):
    call, plain = CALLS[name]
    assert len(lines(call)) <= LINES
    given = result(call, scope)  # first, as it makes what the plain call names, too
    if plain not in scope["results"]:
        scope["results"][plain] = result(plain, scope)
    for one, other in zip(given, scope["results"][plain], strict=True):
        if isinstance(other, pd.DataFrame):
            smooth = [name for name in other if name != "log_odds_p"]  # which divides rounding by a standard error
            pd.testing.assert_frame_equal(one, other, check_exact=False, atol=1e-4, rtol=0)
            pd.testing.assert_frame_equal(one[smooth], other[smooth], check_exact=False, atol=1e-5, rtol=0)
        else:
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)
