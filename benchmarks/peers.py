"""Peers of the engine: loops in two layouts, captum, ONNX Runtime and OpenVINO; of attacks, foolbox and captum."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import captum.robust
import foolbox
import timm
import torch
import torchvision
from captum.attr import FeatureAblation, Occlusion
from torch import Tensor, nn

import runtimes
from dovision.attacks.gradient_ascent import PGD
from dovision.interfaces import Classifier, Context, Intervention
from dovision.interventions.activation import Activation
from dovision.interventions.pixel_grid import PixelGrid
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.topk_sae import TopkSae
from dovision.propagation import Propagation, presented_site
from dovision.propagation.edits import all_pairs
from dovision.propagation.engine_choice import engines_at
from dovision.propagation.operations import Operations
from dovision.propagation.whole_passes import WholePasses
from dovision.types import Batch, Box, Shape, Task

MODELS = (
    *("vgg16", "resnet18", "resnet50", "densenet121"),
    *("mobilenet_v3_large", "efficientnet_b0", "convnext_tiny"),
    *("vit_tiny_patch16_224", "vit_base_patch16_224"),  # timm's
)
LOOPS = ("channels_last loop", "plain loop")
RUNTIMES = ("ONNX Runtime", "OpenVINO", "OpenVINO bfloat16")  # which must be installed: pip install '.[bench]'
PEERS = (*LOOPS, "captum FeatureAblation", "captum Occlusion", *RUNTIMES)
SIZE = 224
CHUNKS = (4, 8, 16, 32)  # tried for each peer
SPREAD = 3.0  # standard deviation of the logits: a probability near 0 or 1 would hide every difference


class Cells(PixelGrid):
    """A grid of which no more than so many cells are units, evenly spaced."""

    def __init__(self, grid: int, most: int) -> None:
        super().__init__(grid, grid)
        self.chosen = torch.linspace(0, grid * grid - 1, min(most, grid * grid)).round().int().tolist()

    def units(self, shape: Shape) -> tuple[str, ...]:
        names = super().units(shape)
        return tuple(names[cell] for cell in self.chosen)

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        return super().region(shape, self.chosen[unit], sample)


class Row(NamedTuple):
    """One line of the table; seconds are medians, ratios are the peer's over ours."""

    what: str
    images: int
    threads: int
    peer: str
    ratio: float | None = None  # of processor time with one thread, which other programs do not lengthen; else of wall
    first_ratio: float | None = None  # the same, of our first call, which prepares the engine
    wall_ratio: float | None = None
    seconds: float | None = None
    peer_seconds: float | None = None
    peer_chunk: int | None = None
    difference: float | None = None  # the largest, in probability
    largest_effect: float | None = None  # in probability
    operations: float | None = None  # the peer's floating-point operations over ours
    peak_gib: float | None = None


def classifier_of(name: str) -> Classifier:
    """Random weights, the statistics of a trained batch-norm, and logits as far apart as a trained network's."""
    torch.manual_seed(0)
    own = name in torchvision.models.list_models()
    network = torchvision.models.get_model(name, weights=None) if own else timm.create_model(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        scale = getattr(module, "layer_scale", None)  # starts near zero, which would hide blocks of ConvNeXt
        if isinstance(scale := getattr(scale, "gamma", scale), Tensor):  # of FastViT, in a module
            scale.data.fill_(0.5)
    task = Task("multiclass", tuple(str(number) for number in range(1000)))
    classifier = Classifier(network, task, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval().requires_grad_(False)
    spread_logits(classifier, batch_of(1).image)
    return classifier


def spread_logits(classifier: Classifier, image: Tensor) -> None:
    """Scale the last layer with one output a class, so that the logits of an image have a deviation of `SPREAD`."""
    classes = len(classifier.task.classes)
    layers = [module for module in classifier.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    head = [layer for layer in layers if len(layer.weight) == classes][-1]
    if not head.weight.any():  # as torchvision leaves those of its transformers
        nn.init.normal_(head.weight, std=0.02)
    spread = SPREAD / classifier(image).std()
    head.weight.mul_(spread)
    if head.bias is not None:
        head.bias.mul_(spread)


def batch_of(images: int) -> Batch:
    image = torch.rand(images, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    number = torch.arange(images)
    return Batch(image, number % 1000, number, number)


def grid_rows(
    name: str,
    grids: Sequence[int],
    images: int,
    rounds: int,
    peers: Sequence[str],
    most: int,
    trials: int = 3,
    sizes: Sequence[int] = CHUNKS,
) -> Iterator[Row]:
    """The engine against the chosen peers, on the same cells, painted black.

    Args:
        most: cells that are painted, of each grid; Occlusion paints all.
        trials: rounds in which the peers' chunks are chosen.
        sizes: the chunks tried.
    """
    classifier, batch = classifier_of(name), batch_of(images)
    label = predicted(classifier, batch)
    laid_out = copy.deepcopy(classifier).to(memory_format=torch.channels_last)
    wanted = {peer: of_runtime(peer, classifier, batch) for peer in RUNTIMES if peer in peers}
    compiled = {peer: runtime for peer, runtime in wanted.items() if runtime is not None}

    def runs_on(grid: int) -> dict[str, Callable[[int], Tensor]]:
        cells = Cells(grid, most)
        runs: dict[str, Callable[[int], Tensor]] = {
            "channels_last loop": lambda chunk: of_class(looped_channels_last(laid_out, cells, batch, chunk), label),
            "plain loop": lambda chunk: of_class(looped(classifier, cells, batch, chunk), label),
            "captum FeatureAblation": lambda chunk: ablated(classifier, batch, label, cells, chunk),
            "captum Occlusion": lambda chunk: occluded(classifier, batch, label, grid, chunk),
        }
        if most < grid * grid:
            del runs["captum Occlusion"]  # which paints all cells
        for peer, runtime in compiled.items():
            runs[peer] = partial(by_runtime, runtime, cells, batch, label)
        return {peer: run for peer, run in runs.items() if peer in peers}

    few = runs_on(6 if images == 1 else 4)  # cells that do to choose the chunk
    chunks = {
        peer: best_chunk(run, trials, images if peer.startswith("captum") else 1, sizes) for peer, run in few.items()
    }
    for grid in grids:
        cells = Cells(grid, most)
        propagation = Propagation(classifier, cells)
        ours = partial(effect_on, propagation, batch, label)
        runs = {peer: partial(run, chunks[peer]) for peer, run in runs_on(grid).items()}

        def first(cells: Cells = cells) -> Callable[[], Tensor]:
            """A call on a classifier that was not seen before."""
            return partial(effect_on, Propagation(copy.deepcopy(classifier), cells), batch, label)

        yield from compare(grid_name(name, grid, most), images, ours, runs, rounds, first)
        for peer in (peer for peer in peers if peer not in runs):  # that cannot be had, or not on some cells alone
            yield Row(grid_name(name, grid, most), images, torch.get_num_threads(), peer)


def grid_name(name: str, grid: int, most: int) -> str:
    """Of the row of a network and a grid of which no more than so many cells are painted."""
    return f"{name}, {grid} x {grid}" + (f", {most} of them" if most < grid * grid else "")


def of_runtime(peer: str, classifier: Classifier, batch: Batch) -> runtimes.Run | None:
    """The network in another runtime; None, and a line that says why, where it cannot be had."""
    try:
        if peer == "ONNX Runtime":
            return runtimes.onnx_runtime(classifier, batch.image)
        return runtimes.openvino(classifier, batch.image, "bf16" if "bfloat16" in peer else "f32")
    except Exception as error:  # of an exporter or a compiler that does not know an operator
        print(f"without {peer}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True)
        return None


def by_runtime(runtime: runtimes.Run, cells: Cells, batch: Batch, label: Tensor, chunk: int) -> Tensor:
    """The effects on one class of each image, shape (B, U), by whole passes in another runtime."""
    boxes = [cells.region((3, SIZE, SIZE), unit, 0) for unit in range(len(cells.chosen))]
    return of_class(runtimes.painted_passes(runtime, boxes, batch, chunk), label)


def latent_rows(layer: str, rounds: int) -> Iterator[Row]:
    """Sixteen channels of an autoencoder's code behind a layer of DenseNet-121, against whole passes."""
    classifier = classifier_of("densenet121")
    channels = classifier.network.get_submodule(layer).conv.out_channels
    autoencoder = ConvAutoencoder(layer, (channels, 32, 16, 32, channels), code=2, kernel_size=3)
    with_autoencoder = insert(classifier, autoencoder, (3, SIZE, SIZE)).eval().requires_grad_(False)
    batch, propagation = batch_of(1), Propagation(with_autoencoder, Activation("code"))
    loop = partial(looped, with_autoencoder, propagation.intervention, batch)
    runs = {"plain loop": partial(loop, best_chunk(loop))}
    yield from compare(f"densenet121, 16 channels after {layer}", 1, partial(effect, propagation, batch), runs, rounds)


INSIDE = {"resnet18": ("layer1", "layer2", 128), "densenet121": ("features.transition1", "features.transition2", 256)}


def inside_rows(name: str) -> Iterator[Row]:
    """Operations of whole passes over ours, with an autoencoder inside: cells, channels before it, its latents.

    They are counted by the choice of the engine, on one unit, and are the same on every machine.
    """
    earlier, layer, channels = INSIDE[name]
    for autoencoder in (ConvAutoencoder(layer, (channels, 32, channels), 1, 1), TopkSae(layer, channels, 4, 8, 100)):
        classifier = insert(classifier_of(name), autoencoder, (3, SIZE, SIZE)).eval().requires_grad_(False)
        edits = {"cells": PixelGrid(14, 14), "channels": Activation(earlier), "latents": Activation("code")}
        for units, intervention in edits.items():
            Propagation(classifier, intervention).prepare(batch_of(1))
            (share,) = engines_at(classifier, intervention, (3, SIZE, SIZE)).saved.values()
            what = f"{name}, {units}, {type(autoencoder).__name__} after {layer}"
            yield Row(what, 1, 1, "whole passes", operations=1 / (1 - share))


def compare(
    what: str,
    images: int,
    ours: Callable[[], Tensor],
    peers: dict[str, partial[Tensor]],
    rounds: int,
    first: Callable[[], Callable[[], Tensor]] | None = None,
) -> Iterator[Row]:
    """The engine and each peer, whose last argument is its chunk, one after the other in every round.

    Args:
        first: gives a call that prepares its engine, for each round, if these are measured too.
    """
    ours()  # the first call prepares the engine
    effects, operations = counted(ours)
    found = {peer: counted(run) for peer, run in peers.items()}
    mine, beginning, *others = medians((ours, ours if first is None else first, *peers.values()), rounds, first)
    for (peer, run), other in zip(peers.items(), others, strict=True):
        theirs, more = found[peer]
        same = slice(None, -1) if " of them" in what else slice(None)  # but for what captum paints with the last cell
        yield Row(
            *(what, images, torch.get_num_threads(), peer),
            ratio=other.counted / mine.counted,
            first_ratio=None if first is None else other.counted / beginning.counted,
            wall_ratio=other.wall / mine.wall,
            seconds=mine.counted,
            peer_seconds=other.counted,
            peer_chunk=run.args[-1],
            difference=(effects[:, same] - theirs[:, same]).abs().max().item(),
            largest_effect=effects.abs().max().item(),
            operations=more / operations if more else None,  # other runtimes' are not counted
        )


def best_chunk(run: Callable[[int], Tensor], trials: int = 3, least: int = 1, sizes: Sequence[int] = CHUNKS) -> int:
    """The number of passes made together that takes least time; captum makes no fewer than one for each image."""
    chunks = [chunk for chunk in sizes if chunk >= least]
    if len(chunks) == 1:
        return chunks[0]
    found = [{chunk: seconds(partial(run, chunk)).counted for chunk in chunks} for _ in range(trials)]
    return min(chunks, key=lambda chunk: min(times[chunk] for times in found))


ATTACK = "pgd-20, resnet18"


def attack_rows(rounds: int) -> Iterator[Row]:
    """PGD of one random start, against foolbox's and captum's, eight images on a small model."""
    classifier, batch, eps, steps = classifier_of("resnet18"), batch_of(8), 2 / 255, 20
    attack = PGD(eps, steps=steps, step_size=eps / 4)
    foolbox_attack = foolbox.attacks.LinfPGD(steps=steps, abs_stepsize=eps / 4)
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    captum_attack = captum.robust.PGD(classifier, nn.CrossEntropyLoss(reduction="none"), 0.0, 1.0)
    peers: dict[str, Callable[[], Tensor]] = {
        "foolbox": lambda: foolbox_attack(model, batch.image, batch.label, epsilons=eps)[1],
        "captum": lambda: captum_attack.perturb(batch.image, eps, eps / 4, steps, batch.label, random_start=True),
    }

    def ours() -> Tensor:
        return attack(batch, classifier, eps)

    for run in (ours, *peers.values()):
        run()  # the first time takes longer
    mine, *others = medians((ours, *peers.values()), rounds)
    for peer, other in zip(peers, others, strict=True):
        ratio, wall = other.counted / mine.counted, other.wall / mine.wall
        yield Row(
            *(ATTACK, 8, torch.get_num_threads(), peer),
            *(ratio, None, wall, mine.counted, other.counted),
        )


def effect_on(propagation: Propagation, batch: Batch, label: Tensor) -> Tensor:
    """Change of the probability of one class of each image, shape (B, U)."""
    return of_class(effect(propagation, batch), label)


def effect(propagation: Propagation, batch: Batch) -> Tensor:
    """Change of probability, shape (B, U, K)."""
    outcome = propagation(batch)
    return outcome.treated.softmax(-1) - outcome.control.softmax(-1).unsqueeze(1)


@torch.no_grad()
def predicted(classifier: Classifier, batch: Batch) -> Tensor:
    """The class of the highest logit, shape (B,)."""
    return classifier(batch.image).argmax(1)


def of_class(effects: Tensor, label: Tensor) -> Tensor:
    """The effects on one class of each image, shape (B, U), from those on all, (B, U, K)."""
    return effects.take_along_dim(label.view(-1, 1, 1), 2)[..., 0]


@torch.no_grad()
def looped(classifier: Classifier, intervention: Intervention, batch: Batch, chunk: int) -> Tensor:
    """The same by whole forward passes, `chunk` at a time."""
    plain = WholePasses(classifier, presented_site(classifier, intervention, tuple(batch.image.shape[1:])))
    clean = plain.clean(batch.image)
    shape = tuple(clean.site.shape[1:])
    units = intervention.units(shape)
    treated = clean.control.unsqueeze(1).repeat(1, len(units), 1)
    for pairs in all_pairs(intervention, units, batch.sample.tolist(), shape):
        for start in range(0, len(pairs), chunk):
            part = pairs.chosen(torch.arange(start, min(start + chunk, len(pairs))).numpy())
            treated[part.image, part.unit] = plain.treated(clean, part, intervention, Context(batch, classifier))
    return treated.softmax(-1) - clean.control.softmax(-1).unsqueeze(1)


@torch.inference_mode()
def looped_channels_last(classifier: Classifier, grid: Cells, batch: Batch, chunk: int) -> Tensor:
    """The same by the loop of a user who knows torch: copies of the image, painted in place, in channels_last.

    Args:
        classifier: with its weights in channels_last.
    """
    control = classifier(batch.image.contiguous(memory_format=torch.channels_last)).softmax(-1)
    cells = [grid.region((3, SIZE, SIZE), unit, 0) for unit in range(len(grid.chosen))]
    pairs = [(image, cell) for image in batch.image for cell in cells]
    treated = []
    for start in range(0, len(pairs), chunk):
        part = pairs[start : start + chunk]
        painted = torch.stack([image for image, _ in part]).contiguous(memory_format=torch.channels_last)
        for image, (_, cell) in zip(painted, part, strict=True):
            cell.crop(image).zero_()
        treated.append(classifier(painted).softmax(-1))
    return torch.cat(treated).unflatten(0, (len(batch.image), -1)) - control.unsqueeze(1)


@torch.no_grad()
def ablated(classifier: Classifier, batch: Batch, label: Tensor, grid: Cells, chunk: int) -> Tensor:
    """captum's FeatureAblation of a class, shape (B, U), as treated minus control.

    Where not all cells are chosen, all others are painted together with the last one: as many passes are made.
    """
    cells = [grid.region((3, SIZE, SIZE), unit, 0) for unit in range(len(grid.chosen))]
    mask = torch.full((1, 1, SIZE, SIZE), len(cells) - 1)
    for unit, cell in enumerate(cells):
        cell.crop(mask).fill_(unit)
    method = FeatureAblation(lambda image: classifier(image).softmax(-1))
    found = method.attribute(
        batch.image,
        baselines=0,
        target=label,
        feature_mask=mask,
        perturbations_per_eval=max(1, chunk // len(batch.image)),
    )
    return -torch.stack([found[:, 0, cell.top, cell.left] for cell in cells], dim=1)


@torch.no_grad()
def occluded(classifier: Classifier, batch: Batch, label: Tensor, grid: int, chunk: int) -> Tensor:
    """captum's Occlusion of a class with windows side by side, shape (B, U), as treated minus control."""
    side = -(-SIZE // grid)
    method = Occlusion(lambda image: classifier(image).softmax(-1))
    found = method.attribute(
        batch.image,
        sliding_window_shapes=(3, side, side),
        strides=(3, side, side),
        baselines=0,
        target=label,
        perturbations_per_eval=max(1, chunk // len(batch.image)),
    )
    return -found[:, 0, ::side, ::side].flatten(1)


class Seconds(NamedTuple):
    """Of a run, by the wall and by the processor, all threads together."""

    wall: float
    processor: float

    @property
    def counted(self) -> float:
        """By the processor where there is one thread, which other programs on the machine do not lengthen."""
        return self.processor if torch.get_num_threads() == 1 else self.wall


def seconds(run: Callable[[], object]) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def medians(
    runs: Sequence[Callable[[], object]], rounds: int, prepares: Callable[[], object] | None = None
) -> list[Seconds]:
    """Seconds of each run, one after the other in every round; of one, only what it `prepares` is timed."""
    times = [[seconds(run() if run is prepares else run) for run in runs] for _ in range(rounds)]
    return [Seconds(*map(statistics.median, zip(*column, strict=True))) for column in zip(*times, strict=True)]


def counted(run: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What the run returned, and its floating-point operations."""
    with Operations() as counter:
        found = run()
    return found, counter.number
