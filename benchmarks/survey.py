"""Share of operations that incremental passes save, for a network of each of timm's families and of torchvision's.

    python benchmarks/survey.py                                  about 15 minutes on one core
    python benchmarks/survey.py --models swin_t tf_efficientnet_b0

Random weights and one image, of which the central cell of a grid of 13 x 13 is painted. Written to
outputs/bench/survey.csv, a row a network. `saved` is the share of the multiply-adds of a whole pass; where tracing
ended early, what was saved until then; 0 with a reason where the network cannot be traced.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import timm
import torch
import torchvision
from torch import nn

from dovision.interfaces import Classifier
from dovision.propagation import Propagation
from dovision.propagation.engine_choice import known_site
from dovision.types import Batch, Task
from peers import Cells

GRID = 13  # odd, so that the unit in the middle of the list, on which an engine is tried, is the central cell
MOST_PARAMETERS = 60e6
TORCHVISION = (
    *("alexnet", "vgg11", "resnet18", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "squeezenet1_1"),
    *("googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5"),
    *("efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny"),
    *("vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
)


class Saved(NamedTuple):
    """One row of the survey."""

    family: str
    model: str
    side: int  # pixels
    saved: float  # share of the operations
    seconds: float  # of the first call of an engine, processor time
    reason: str = ""


def families() -> Iterator[tuple[str, str]]:
    """The family and the name of timm's smallest network of each."""
    for module in timm.list_modules():
        sizes = {}
        for name in timm.list_models(module=module):
            side = timm.get_pretrained_cfg(name).input_size[-1]
            try:
                with torch.device("meta"):
                    sizes[name] = (side > 256, sum(each.numel() for each in timm.create_model(name).parameters()))
            except Exception:  # some networks compute with values while they are made
                continue
        least = min(sizes, key=sizes.__getitem__, default=None)
        if least is not None and sizes[least][1] <= MOST_PARAMETERS:
            yield module, least


def surveyed(family: str, name: str) -> Saved:
    """A network's row."""
    torch.manual_seed(0)
    started = time.process_time()
    side = 224
    try:
        if family == "torchvision":
            network = torchvision.models.get_model(name, weights=None)
        else:
            network, side = timm.create_model(name), timm.get_pretrained_cfg(name).input_size[-1]
        classifier, batch = prepared(network, side)
        started = time.process_time()
        propagation = Propagation(classifier, Cells(GRID, GRID * GRID))
        propagation.prepare(batch)
        known: Any = known_site(classifier, propagation.intervention, (3, side, side))
        (saved,) = known.saved.values()
        return Saved(family, name, side, saved, time.process_time() - started, known.reason)
    except Exception as error:  # one network must not end the survey
        reason = f"{type(error).__name__}: {error}"
        return Saved(family, name, side, 0.0, time.process_time() - started, f"fails: {reason.splitlines()[0]}")


def prepared(network: nn.Module, side: int) -> tuple[Classifier, Batch]:
    """The network with the statistics of a trained batch-norm, and one image."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    task = Task("multiclass", tuple(map(str, range(1000))))
    classifier = Classifier(network.eval().requires_grad_(False), task, (0.5,), (0.25,))
    number = torch.zeros(1, dtype=torch.int64)
    return classifier, Batch(torch.rand(1, 3, side, side), number, number, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="of torchvision or timm, in place of a network of each family")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/survey.csv"))
    options = parser.parse_args()
    logging.getLogger("dovision").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    chosen = [*(("torchvision", name) for name in TORCHVISION), *families()]
    if options.models:
        own = torchvision.models.list_models()
        chosen = [("torchvision" if name in own else "timm", name) for name in options.models]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for family, name in chosen:
        rows.append(surveyed(family, name))
        print(*rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
