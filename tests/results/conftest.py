"""Run directories as an evaluation would leave them: real digits, logits drawn from a seed, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from dovision import geometry
from dovision.contracts import Batch, Box, Task
from dovision.results.maps import image_path, save_image
from dovision.results.order import by_sample
from dovision.results.rows import Clean, effect_columns, sample_columns
from dovision.results.run_directory import RunDirectory
from dovision.results.summary import write_summary
from dovision.results.tables import EFFECTS, SAMPLES, TableWriter, effects_schema, samples_schema

DIGITS = Task("multiclass", tuple("0123456789"))
SHAPE = (1, 32, 32)
WriteRun = Callable[..., RunDirectory]


def write_run(
    folder: Path,
    overrides: Sequence[str] = ("attack=pgd",),
    eps: Sequence[float] = (0.05, 0.2),
    grid: int | None = 4,
    images: int = 40,
    seed: int = 0,
    task: Task = DIGITS,
    strength: float = 8.0,
    maps: int = 3,
) -> RunDirectory:
    """A completed run: grid x grid cells, or 16 latent channels if grid is None; `strength` of the attacks, logits."""
    run = RunDirectory(folder)
    run.start(_config(grid), overrides, {"seed": seed, "git_commit": "0123abc", "versions": {"torch": "2.13.0"}})
    random = torch.Generator().manual_seed(seed)
    clean = _digits(images)
    named = [f"digit_{i:04}.png" for i in range(images)]
    control = 5 * torch.nn.functional.one_hot(clean.label, 10) + 1.5 * torch.randn(images, 10, generator=random)
    samples, effects = [], []
    for arm, size in [("clean", 0.0), *((f"eps={e:g}", e) for e in eps)]:
        noise = (torch.rand(clean.image.shape, generator=random) - 0.5).sign()
        batch = clean._replace(image=(clean.image + size * noise).clamp(0, 1))
        logits = control + strength * 5 * size * torch.randn(images, 10, generator=random)
        treated, units, regions = _treated(batch.image, logits, grid, 1 + 4 * size, random)
        before = task.correct(task.probability(control), clean.label)
        measured = {"task": task, "control_logits": logits, "treated_logits": treated}
        attacked = {"clean": Clean(clean.image, before), "logits_8bit": logits} if size else {}
        samples.append(
            [sample_columns(arm=arm, eps=size, batch=batch, names=named, logits=logits, **measured, **attacked)]
        )
        effects.append(list(effect_columns(arm=arm, sample=batch.sample, units=units, regions=regions, **measured)))
        for sample in range(maps):
            save_image(image_path(folder, sample, arm), batch.image[sample])
    with TableWriter(folder / SAMPLES, samples_schema(task)) as table:
        table.write(by_sample(samples, images))
    with TableWriter(folder / EFFECTS, effects_schema()) as table:
        table.write(by_sample(effects, images))
    write_summary(folder, seed)
    run.complete({"wall_seconds": 12.5, "peak_memory_mb": 640, "forward_passes": 1000, "bad_files": []})
    return run


def _digits(images: int) -> Batch:
    pixels = torch.from_numpy(load_digits().images[:images]).float().div(16).unsqueeze(1)
    sample = torch.arange(images)
    label = torch.from_numpy(load_digits().target[:images])
    return Batch(torch.nn.functional.interpolate(pixels, SHAPE[1:], mode="bilinear"), label, sample, sample // 2)


def _treated(
    image: Tensor, logits: Tensor, grid: int | None, scale: float, random: torch.Generator
) -> tuple[Tensor, list[str], list[list[Box | None]]]:
    """Taking bright cells away lowers the logit of the class that is said."""
    count = grid**2 if grid else 16
    if grid:
        cells = [geometry.grid_cell(SHAPE, unit, grid, grid) for unit in range(count)]
        drop = torch.stack([cell.crop(image).mean((1, 2, 3)) for cell in cells], 1) * 4
        units, boxes = [f"r{unit // grid}c{unit % grid}" for unit in range(count)], list(cells)
    else:
        drop = torch.rand(len(image), count, generator=random) * torch.linspace(0, 3, count)
        units, boxes = [f"channel {unit}" for unit in range(count)], [None] * count
    said = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).unsqueeze(1)
    noise = torch.randn(len(image), count, logits.shape[-1], generator=random) * 0.2
    return logits.unsqueeze(1) - scale * (drop.unsqueeze(-1) * said + noise), units, [boxes] * len(image)


def _config(grid: int | None) -> dict[str, object]:
    fill = {"_target_": "dovision.interventions.fills.Constant", "value": 0.0}
    cells = {"_target_": "dovision.interventions.pixel_grid.PixelGrid", "rows": grid, "columns": grid, "fill": fill}
    zero = {"_target_": "dovision.interventions.channel_values.Zero"}
    code = {"_target_": "dovision.interventions.latent_channel.LatentChannel", "value": zero}
    return {
        "name": "digits",
        "seed": 0,
        "dataset": {"_target_": "dovision.datasets.mnist.MNIST", "root": "/data/mnist", "shape": [1, 32, 32]},
        "model": {"_target_": "dovision.models.small_cnn.small_cnn", "mean": [0.5], "std": [0.5]},
        "autoencoder": None,
        "intervention": cells if grid else code,
        "attack": {"_target_": "dovision.attacks.pgd.PGD", "eps": [0.05, 0.2], "norm": "linf", "steps": 10},
    }


@pytest.fixture(scope="session", name="write_run")
def write_run_fixture() -> WriteRun:
    """The function that writes a run directory."""
    return write_run


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two grids, one latent intervention, one failed and one unfinished job."""
    folder = tmp_path_factory.mktemp("digits")
    write_run(folder / "1a", ["attack=pgd", "intervention.rows=2"], grid=2)
    write_run(folder / "2b", ["attack=pgd", "intervention.rows=4"], grid=4, seed=1)
    write_run(folder / "3c", ["attack=pgd", "intervention=latent_channel"], grid=None, seed=2)
    failed = RunDirectory(folder / "4d")
    failed.start(_config(4), ["attack=pgd", "intervention.rows=64"], {"seed": 0})
    failed.fail(ValueError("a grid must have at most 32 rows, got 64.\nMore lines."))
    RunDirectory(folder / "5e").start(_config(4), ["attack=pgd", "intervention.rows=8"], {"seed": 0})
    return folder
