"""Weights of other programs go into a network whole, with what was done to their names in words, or not at all."""

import argparse
import os
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from torch import nn

from dovision.models._foreign_weights import load_weights, matched
from made_trainer import quiet_trainer

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def small(seed: int = 1, classes: int = 3) -> nn.Module:
    """A network with a convolution, batch-norm and a head."""
    torch.manual_seed(seed)
    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(3, 4, 3))
    network.add_module("norm", nn.BatchNorm2d(4))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flat", nn.Flatten())
    network.add_module("fc", nn.Linear(4, classes))
    network.norm.running_mean.normal_()
    return network.eval()


class Lit(pl.LightningModule):
    """A plain LightningModule around a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters({"lr": 0.1})
        self.backbone = network

    def training_step(self, batch, batch_idx):
        return self.backbone(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def with_prefix(prefix: str, state: dict) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def loaded(path: Path, into: nn.Module | None = None) -> tuple[nn.Module, list[str]]:
    network = small(seed=9) if into is None else into
    state, steps = matched(path, network.state_dict())
    network.load_state_dict(state)
    return network.eval(), steps


def same(one: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        return torch.equal(one(IMAGE), other(IMAGE))


class State(OrderedDict):
    """A dictionary of another class, whose items are not plain."""


FILES = {  # what is saved, and what the log says of it
    "alone": (lambda own: own, []),
    "state_dict": (lambda own: {"epoch": 3, "state_dict": own, "best": torch.tensor(0.9)}, ["entry state_dict"]),
    "model": (lambda own: {"model": own, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}, ["entry model"]),
    "model_state_dict": (lambda own: {"model_state_dict": own, "loss": 0.3}, ["entry model_state_dict"]),
    "net": (lambda own: {"net": with_prefix("module.", own), "acc": 91.0}, ["entry net", "prefix module."]),
    "parallel": (lambda own: with_prefix("module.", own), ["prefix module."]),
    "compiled": (lambda own: with_prefix("_orig_mod.", own), ["prefix _orig_mod."]),
    "both": (lambda own: with_prefix("_orig_mod.module.", own), ["prefix _orig_mod.module."]),
    "numbers": (lambda own: {**own, "epoch": 3}, ["left out epoch"]),
    "torchvision's script": (
        lambda own: {"model": own, "epoch": 3, "args": argparse.Namespace(lr=1.0)},
        ["entry model", "left objects of argparse.Namespace unread"],
    ),
    "timm's script": (
        lambda own: {"state_dict": own, "args": argparse.Namespace(opt="sgd"), "metric": np.float64(0.9)},
        ["entry state_dict", "left objects of argparse.Namespace, numpy"],
    ),
    "halves": (lambda own: {name: each.half() if each.dim() else each for name, each in own.items()}, ["float16"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_each_way_to_save_a_network_gives_that_network(tmp_path, kind):
    network, (content, said) = small(), FILES[kind]
    if kind == "halves":
        network.half().float()
    found, steps = loaded(saved(tmp_path / "own.pt", content(network.state_dict())))
    assert same(found, network)
    assert len(steps) == len(said)
    assert all(part in step for part, step in zip(said, steps, strict=True))


def test_a_checkpoint_of_lightning_gives_its_network(tmp_path):
    network = small()
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(Lit(network.train()), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGE)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    found, steps = loaded(tmp_path / "last.ckpt")
    assert same(found, network.eval())
    assert steps == ["took its entry state_dict", "took off the prefix backbone."]


def test_the_names_of_torchvisions_published_densenets_are_read(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.densenet121(num_classes=2).eval()
    older = {re.sub(r"(norm|conv)(\d)\.", r"\1.\2.", name) if "denselayer" in name else name: each
             for name, each in network.state_dict().items() if not name.endswith("num_batches_tracked")}  # fmt: skip
    found, steps = loaded(saved(tmp_path / "a.pth", older), into=torchvision.models.densenet121(num_classes=2))
    assert same(found, network)
    assert "the names that torchvision has for them today" in steps[0]


def test_timm_and_safetensors_give_the_network_called_directly(tmp_path):
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=4).eval()
    safetensors.save_file(network.state_dict(), tmp_path / "model.safetensors")
    for path in (saved(tmp_path / "model.pth.tar", {"arch": "resnet10t", "state_dict": network.state_dict()}),
                 tmp_path / "model.safetensors"):  # fmt: skip
        found, _ = loaded(path, into=timm.create_model("resnet10t", num_classes=4))
        assert same(found, network)


def changed(**tensors: torch.Tensor | None) -> dict:
    """The state of a small network with some tensors in place of its own, or without them."""
    own = {**small().state_dict(), **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    return {name: tensor for name, tensor in own.items() if tensor is not None}


REFUSED = {
    "lacking": (changed(fc__bias=None), "must have the 9 tensors of the model, but lacks 1: fc.bias"),
    "others": (changed(aux__weight=torch.ones(2)), r"has 1 others: aux.weight\..*save it with the names of this one"),
    "renamed": (
        {name.replace("fc", "head"): each for name, each in changed().items()},
        r'lacks 2: fc.weight, fc.bias and has 2 others: head.weight, head.bias',
    ),
    "head": (small(classes=7).state_dict(), r"differs in 2, such as fc.weight, \[7, 4\] where the model has \[3"),
    "grey": (changed(stem__weight=torch.ones(4, 1, 3, 3)), "Set dataset.shape to images of 1 channels"),
    "kernel": (changed(stem__weight=torch.ones(4, 3, 5, 5)), "Choose the model that it was saved from"),
    "kind": (changed(fc__bias=torch.ones(3, dtype=torch.int64)), "fc.bias is of torch.int64"),
    "list": ([torch.ones(2)], "must hold a dictionary of tensors by name, got list"),
    "tensor": (torch.ones(2), "must hold a dictionary of tensors by name, got Tensor"),
    "empty": ({}, "got the entries nothing"),
    "words": ({"model": "resnet18", "acc": 0.3}, "got the entries model, acc"),
    "deep": ({"a": {"model": {"fc.weight": torch.ones(3, 4)}}}, "got the entries a"),
    "module": (small(), r"it holds other objects.*was not opened. Save its weights alone"),
    "entry": ({"model": small(), "epoch": 3}, r"it holds other objects.*was not opened. Save its weights alone"),
    "subclass": ({"model": State(changed())}, r"other objects \(.*State\)"),
    "blocked": ({"model": changed(), "run": os.system}, r"other objects \(posix.system\)"),
    "twice": ({**changed(), **with_prefix("model.", changed(fc__bias=None))}, "has 8 others: model.stem"),
    "two": ({"model": changed(), "model_ema": changed()}, "has 9 others: model_ema.stem"),
    "both": ({**with_prefix("model.", changed()), "fc.bias": torch.ones(3)}, "lacks 7: stem.weight.* has 9 others:"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_the_networks_is_refused_in_one_sentence(tmp_path, kind):
    content, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        loaded(saved(tmp_path / "own.pt", content))


def test_the_log_names_the_classes_of_a_head_that_is_kept_in_their_order(tmp_path, caplog):
    caplog.set_level("INFO")
    path = str(saved(tmp_path / "own.pt", small().state_dict()))
    load_weights(small(), path, classes=["cat", "dog", "owl"])
    assert caplog.messages == [f"{path}: kept the head, its 3 classes in the order cat, dog, owl"]
    caplog.clear()
    load_weights(small(), path, ["fc"], classes=["cat", "dog", "owl"])
    assert caplog.messages == [f"{path}: left out the head fc, which is drawn at random"]
