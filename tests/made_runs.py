"""Run directories as an evaluation would leave them: real digits, logits drawn from a seed, no network."""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from dovision.functional import geometry
from dovision.functional.agreement import coverage, state
from dovision.io.text_files import read_json, read_yaml, write_json, write_text, yaml_text
from dovision.jobs.report import write_report
from dovision.measurement.condition import Condition, by_sample, effect_rows, sample_rows, touched
from dovision.propagation import Outcome
from dovision.report.report_figure import Catalogue
from dovision.report.style import WIDTHS, page_width
from dovision.results.detection_summary import write_detection
from dovision.results.effect_sums import (
    CELL,
    LOG_ODDS_SUM,
    SUMS,
    Cells,
    merged_sums,
    sums_schema,
    whole_effect,
    whole_log_odds,
)
from dovision.results.image_tables import MAPS_FILE, MapGrid, maps_schema, write_boxes
from dovision.results.run_files import digests
from dovision.results.run_record import Run, survey
from dovision.results.schemas import DIGESTS, with_digest
from dovision.results.summary import write_summary
from dovision.results.tables import (
    EFFECTS,
    SAMPLES,
    TableWriter,
    effects_schema,
    read_groups,
    read_table,
    samples_schema,
    write_table,
)
from dovision.results.thumbnails import save_image, thumbnail_path
from dovision.types import BOX_COLUMNS, Batch, Box, Task
from made_scores import write_scores, write_steps

DIGITS = Task("multiclass", tuple("0123456789"))
FILMS = Task("multilabel", ("nodule", "opacity"))
SHAPE = (1, 32, 32)
WriteRun = Callable[..., Run]
KINDS: dict[str, dict[str, Any]] = {  # of pages, by what `write_run` takes
    "effects": {"eps": ()},
    "attacked effects": {},
    "detection": {"detection": True},
    "pictures without labels": {"eps": (), "labelled": False},
    "14 labels": {"task": Task("multilabel", tuple(f"finding {number} of the chest" for number in range(14)))},
    "1,000 classes": {"task": Task("multiclass", tuple(f"class number {number}" for number in range(1000)))},
}


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
    labelled: bool = True,
    detection: bool = False,
) -> Run:
    """A completed run: grid x grid cells, or 16 latent channels if grid is None; `strength` of the attacks, logits.

    The classes of digits come first; with several labels each third image has the next one, too.
    """
    run = Run(folder)
    run.start(
        _config(grid, eps, seed), overrides, {"seed": seed, "git_commit": "0123abc", "versions": {"torch": "2.13.0"}}
    )
    random = torch.Generator().manual_seed(seed)
    clean = _digits(images, task, labelled)
    classes, digit = len(task.classes), _digits(images, DIGITS).label
    named = [f"digit_{i:04}.png" for i in range(images)]
    control = 5 * torch.nn.functional.one_hot(digit, classes) + 1.5 * torch.randn(images, classes, generator=random)
    samples, effects, conditions = [], [], []
    for attack, size in [("clean", 0.0), *(("pgd", e) for e in eps)]:
        noise = (torch.rand(clean.image.shape, generator=random) - 0.5).sign()
        batch = clean._replace(image=(clean.image + size * noise).clamp(0, 1))
        logits = control + strength * 5 * size * torch.randn(images, classes, generator=random)
        treated, units, regions = _treated(batch.image, logits, grid, 1 + 4 * size, random)
        correct, outcome = task.correct(task.probability(logits), clean.label), Outcome(tuple(units), logits, treated)
        conditions.append(condition := Condition(attack, size, batch, logits, correct))
        done, at_8_bits = torch.ones(treated.shape[:2]) > 0, correct if size else None
        samples.append(sample_rows(condition, conditions[0], outcome, done, named, task, at_8_bits))
        effects.append(effect_rows(condition.name, batch.sample, outcome, regions, task))
        for sample in range(maps):
            save_image(thumbnail_path(folder, sample, condition.name), batch.image[sample])
    with TableWriter(folder / SAMPLES, samples_schema(task)) as table:
        table.write(by_sample(samples, images))
    write_table(folder / EFFECTS, effects_schema(), [by_sample(effects, images)])
    write_sums(folder)
    if detection:
        write_scores(folder, images=40, eps=(0.1,))
        write_steps(folder)
        write_detection(folder)
    write_summary(folder)
    run.complete({"wall_seconds": 12.5, "peak_memory_mb": 640, "forward_passes": 1000, "bad_files": []})
    return run


def seal(run: Path, **facts: Any) -> None:
    """Record facts, and the digests of a run's files as they are now, as its own program would."""
    write_json(run / "run.json", with_digest({**read_json(run / "run.json"), DIGESTS: digests(run), **facts}))


def edit_config(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the configuration of a run, as its owner or somebody else may."""
    config = read_yaml(run / ".hydra" / "config.yaml")
    change(config)
    write_text(run / ".hydra" / "config.yaml", yaml_text(config))


def write_sums(folder: Path) -> None:
    """Write the sums of a folder's rows of effects."""
    rows, group = read_table(folder / EFFECTS).unify_dictionaries(), read_groups(folder)
    cells = Cells(*(tuple(rows[name].chunk(0).dictionary.to_pylist()) for name in CELL))
    columns = {name: rows[name] for name in CELL} | {"group": group[rows["sample"].to_numpy()].to_numpy()}
    columns |= {"images": np.ones(len(rows), np.int32), "total": whole_effect(rows["effect"].to_numpy())}
    columns |= {LOG_ODDS_SUM: whole_log_odds(rows["log_odds_effect"].to_numpy())}
    schema = sums_schema(cells)
    table = pa.table(columns).select(schema.names).cast(schema)
    write_table(folder / SUMS, schema, merged_sums(lambda _: iter([table]), schema))


def write_map_run(
    folder: Path, overrides: Sequence[str] = (), painted: bool = False, shortcut: float = 0.5, images: int = 24
) -> Run:
    """A completed run on films with a nodule (but for every fourth), an opacity, a tag and a rib, with two labels.

    Taking a lesion away, or painting over it, lowers the log-odds of its label by 2, the tag those of both by
    3 * shortcut, a rib does nothing. The map of `grad_cam` is the box of the label, that of `effect_map` the evidence
    of every object, both with a little noise; `random_map` is noise alone. The first map of grad_cam is zero.
    """
    run = Run(folder)
    run.start(_film_config(painted, shortcut), overrides, {"seed": 0})
    random = np.random.default_rng(int(100 * shortcut))
    films = [_film(sample, random) for sample in range(images)]
    _write_film_effects(folder, films, painted, shortcut, random)
    write_boxes(folder, pd.DataFrame([row for film in films for row in film], columns=BOX_COLUMNS))
    schema = maps_schema(MapGrid(8, 8, 32, 32, 2), "grad_cam")
    rows = [row for film in films for row in _film_maps(film, shortcut, random)]
    write_table(folder / MAPS_FILE, schema, [pa.RecordBatch.from_pylist(rows, schema=schema)])
    write_summary(folder)
    passes = {"grad_cam": 1.0, "effect_map": 65.0, "random_map": 0.0}
    seconds = {"grad_cam": 0.01, "effect_map": 0.2, "random_map": 0.001}
    run.complete({"seconds_per_map": seconds, "passes_per_map": passes})
    return run


def _film(sample: int, random: np.random.Generator) -> list[tuple[Any, ...]]:
    """The boxes of a film, each within a quarter of the image of its own."""
    quarters = {"opacity0": (0, 16), "nodule1": (16, 0), "tag": (0, 0), "rib": (16, 16)}
    spoken = {"opacity0": "opacity", "nodule1": "nodule"}
    rows = []
    for obj, (top, left) in quarters.items():
        if sample % 4 or obj != "nodule1":
            down, across = random.integers(0, 8, 2)
            box = Box(top + down, left + across, top + down + 8, left + across + 8)
            rows.append((sample, obj, spoken.get(obj), *box))
    return rows


def _evidence(label: str | None, obj: str, shown: str, shortcut: float) -> float:
    """What an object adds to the log-odds of a class."""
    return 2.0 * (label == shown) + 3 * shortcut * (obj == "tag")


def _write_film_effects(
    folder: Path, films: list[list[tuple[Any, ...]]], painted: bool, shortcut: float, random: np.random.Generator
) -> None:
    suffixes = ("", " control 0", " control 1") if painted else ("",)
    objects = ("opacity0", "nodule1", "tag", "rib")
    units = [obj + suffix for obj in objects for suffix in suffixes]
    nothing = Box(0, 0, 0, 0)
    control = torch.tensor(random.normal(0.5, 0.7, (len(films), 2)))
    treated = control.unsqueeze(1) + torch.tensor(random.normal(0, 0.1, (len(films), len(units), 2)))
    regions: list[list[Box | None]] = []
    for row, film in enumerate(films):
        known = {obj: (label, Box(*edges)) for _, obj, label, *edges in film}
        regions.append([known[obj][1] if obj in known else nothing for obj in objects for _ in suffixes])
        for column, obj in enumerate(objects):
            for place, shown in enumerate(FILMS.classes):
                if obj in known:
                    treated[row, column * len(suffixes), place] -= _evidence(known[obj][0], obj, shown, shortcut)
    sample = torch.arange(len(films))
    label = torch.tensor([[1.0 if row % 4 else 0.0, 1.0] for row in range(len(films))])
    batch = Batch(torch.from_numpy(random.random((len(films), 1, 32, 32))).float(), label, sample, sample // 2)
    outcome = Outcome(tuple(units), control.float(), treated.float())
    correct = FILMS.correct(FILMS.probability(outcome.control), label)
    clean = Condition("clean", 0.0, batch, outcome.control, correct)
    with TableWriter(folder / SAMPLES, samples_schema(FILMS)) as table:
        names, done = [f"film {row}" for row in range(len(films))], torch.ones(treated.shape[:2]) > 0
        table.write(sample_rows(clean, clean, outcome, done, names, FILMS))
    rows = effect_rows("clean", sample, outcome, regions, FILMS)
    placed = np.repeat(touched(regions).numpy(), len(FILMS.classes))
    write_table(folder / EFFECTS, effects_schema(), [rows.filter(pa.array(placed))])
    write_sums(folder)
    for row in range(3):
        save_image(thumbnail_path(folder, row, "clean"), batch.image[row])


def _film_maps(film: list[tuple[Any, ...]], shortcut: float, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    sample = film[0][0]
    variants = ["as is", "perturbed"]
    if sample < 6:
        variants += ["randomised 1 of 3", "randomised 2 of 3", "randomised 3 of 3"]
    for shown in dict.fromkeys(label for _, _, label, *_ in film if label):
        own = {"grad_cam": np.zeros((8, 8)), "effect_map": np.zeros((8, 8))}
        for _, obj, label, *edges in film:
            share = coverage([Box(*edges)], 32, 32, 8, 8)
            own["grad_cam"] += share * (label == shown)
            own["effect_map"] += share * _evidence(label, obj, shown, shortcut)
        for explainer in ("grad_cam", "effect_map", "random_map"):
            fixed = random.normal(size=(8, 8))
            for number, variant in enumerate(variants):
                known = own.get(explainer, fixed) if number < 2 or explainer == "random_map" else 0.2 * fixed
                cells = known + 0.05 * random.normal(size=(8, 8))
                cells = 0 * cells if (sample, explainer, shown) == (0, "grad_cam", "opacity") else cells
                curves = {"deletion": random.uniform(0.1, 0.3), "insertion": random.uniform(0.6, 0.8)}
                facts = {"sample": sample, "group": sample // 2, "explainer": explainer, "class": shown}
                facts |= {"variant": variant, "correct": sample % 3 > 0, "state": state(cells), "cells": cells.ravel()}
                yield facts | (curves if variant == "as is" and cells.any() else {})


def _digits(images: int, task: Task = DIGITS, labelled: bool = True) -> Batch:
    pixels = torch.from_numpy(load_digits().images[:images]).float().div(16).unsqueeze(1)
    sample = torch.arange(images)
    label = torch.from_numpy(load_digits().target[:images])
    if task.multilabel:
        label = torch.nn.functional.one_hot(label, len(task.classes)).float()
        label[::3] += label[::3].roll(1, -1)
    if not labelled:
        label = torch.full_like(label, float("nan") if task.multilabel else -1)
    return Batch(torch.nn.functional.interpolate(pixels, SHAPE[1:], mode="bilinear"), label, sample, sample // 2)


def _treated(
    image: Tensor, logits: Tensor, grid: int | None, scale: float, random: torch.Generator
) -> tuple[Tensor, list[str], list[list[Box | None]]]:
    """Taking bright cells away lowers the logit of the predicted class."""
    count = grid**2 if grid else 16
    if grid:
        cells = [geometry.grid_cell(SHAPE, unit, grid, grid) for unit in range(count)]
        drop = torch.stack([cell.crop(image).mean((1, 2, 3)) for cell in cells], 1) * 4
        units, boxes = [f"r{unit // grid}c{unit % grid}" for unit in range(count)], list(cells)
    else:
        drop = torch.rand(len(image), count, generator=random) * torch.linspace(0, 3, count)
        units, boxes = [f"channel {unit}" for unit in range(count)], [None] * count
    predicted = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).unsqueeze(1)
    noise = torch.randn(len(image), count, logits.shape[-1], generator=random) * 0.2
    return logits.unsqueeze(1) - scale * (drop.unsqueeze(-1) * predicted + noise), units, [boxes] * len(image)


def _config(grid: int | None, eps: Sequence[float], seed: int) -> dict[str, object]:
    fill = {"_target_": "dovision.interventions.fills.Constant", "value": 0.0}
    cells = {"_target_": "dovision.interventions.pixel_grid.PixelGrid", "rows": grid, "columns": grid, "fill": fill}
    zero = {"_target_": "dovision.interventions.values.Zero"}
    code = {"_target_": "dovision.interventions.activation.Activation", "value": zero}
    return {
        "name": "digits",
        "seed": seed,
        "dataset": {"_target_": "dovision.datasets.torch_dataset.MNIST", "root": "/data/mnist", "shape": [1, 32, 32]},
        "model": {"_target_": "dovision.models.small_cnn.small_cnn", "mean": [0.5], "std": [0.5]},
        "autoencoder": None,
        "intervention": cells if grid else code,
        "attack": {"_target_": "dovision.attacks.gradient_ascent.PGD", "eps": list(eps), "norm": "linf", "steps": 10},
    }


def _film_config(painted: bool, shortcut: float) -> dict[str, object]:
    fill = {"_target_": "dovision.interventions.fills.Mean"}
    box = {"_target_": "dovision.interventions.region_box.RegionBox", "fill": fill, "controls": 2, "seed": 0}
    drawn = {"_target_": "dovision.interventions.counterfactual.Counterfactual"}
    grid = {"_target_": "dovision.interventions.pixel_grid.PixelGrid", "rows": 8, "columns": 8, "fill": fill}
    return {
        "name": "films",
        "seed": 0,
        "dataset": {"_target_": "dovision.datasets.phantom.Phantom", "task": "multilabel", "shortcut": shortcut},
        "model": {"_target_": "dovision.models.small_cnn.small_cnn"},
        "intervention": box if painted else drawn,
        "attack": {"_target_": "dovision.attacks.none.NoAttack"},
        "explainer": {
            "grad_cam": {"_target_": "dovision.explainers.class_activation_maps.GradCam"},
            "effect_map": {"_target_": "dovision.explainers.effect_map.EffectMap", "intervention": grid},
            "random_map": {"_target_": "dovision.explainers.controls.RandomMap", "seed": 0},
        },
        "explanation": {"_target_": "dovision.measurement.explanation_config.MapSettings", "fill": fill, "steps": 16},
    }


@pytest.fixture(scope="session")
def map_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three strengths of the shortcut, with true effects; two with painted boxes as well."""
    folder = tmp_path_factory.mktemp("films")
    for shortcut in (0.0, 0.5, 1.0):
        write_map_run(folder / f"true{shortcut}", [f"dataset.shortcut={shortcut}"], shortcut=shortcut)
    for shortcut in (0.0, 1.0):
        overrides = [f"dataset.shortcut={shortcut}", "intervention=region_box"]
        write_map_run(folder / f"painted{shortcut}", overrides, painted=True, shortcut=shortcut)
    return folder


@pytest.fixture(scope="session")
def map_run(map_sweep: Path) -> Path:
    """A run with maps and true effects, of a shortcut of .5."""
    return map_sweep / "true0.5"


@pytest.fixture(scope="session")
def painted_run(map_sweep: Path) -> Path:
    """A run with maps and painted boxes with two controls each, of a shortcut of 1."""
    return map_sweep / "painted1.0"


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
    write_run(folder / "3c", ["attack=pgd", "intervention=activation"], grid=None, seed=2)
    failed = Run(folder / "4d")
    failed.start(_config(64, (0.05, 0.2), 0), ["attack=pgd", "intervention.rows=64"], {"seed": 0})
    failed.fail(ValueError("a grid must have at most 32 rows, got 64.\nMore lines."))
    Run(folder / "5e").start(_config(8, (0.05, 0.2), 0), ["attack=pgd", "intervention.rows=8"], {"seed": 0})
    return folder


@pytest.fixture(scope="session")
def page_of_factors(page_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two grids, two attacks, two epsilons and two seeds."""
    folder = tmp_path_factory.mktemp("factors")
    for number in range(16):
        grid, attack = 2 + 2 * (number & 1), ("fgsm", "pgd")[number >> 1 & 1]
        eps, seed = (0.1, 0.2)[number >> 2 & 1], number >> 3
        typed = [f"intervention.rows={grid}", f"intervention.columns={grid}", f"attack={attack}"]
        typed += [f"++attack.eps={eps}", f"seed={seed}"]
        write_run(folder / f"{number:02}", typed, eps=(eps,), grid=grid, images=12, seed=seed, maps=1)
    return page_of(folder, folder / "report", details=1)


@pytest.fixture(scope="session")
def page_of_kind(page_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The function that makes the page of one of KINDS, once."""

    @functools.cache
    def made(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("kind")
        write_run(folder / "run", images=12, **({"grid": 2, "eps": (0.2,)} | KINDS[kind]))
        return page_of(folder)

    return made


@pytest.fixture(scope="session")
def page_of_sweep(sweep: Path, page_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three completed runs, a failed and an unfinished one."""
    return page_of(sweep, tmp_path_factory.mktemp("page"))


def report_of_sweep(
    sweep: Path,
    output: Path | None = None,
    details: int | None = None,
    figure_width: float = WIDTHS[-1],
    formats: Sequence[str] | None = None,
) -> Path:
    """The page of a sweep's report, as dovision-report writes it with these settings."""
    with page_width(figure_width):
        return write_report(sweep, survey(sweep), output or sweep / "report", details, Catalogue(), formats)
