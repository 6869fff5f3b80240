"""Shared by all tests: one torch thread, the folder of small real data, and the commands run in this process."""

import functools
import gc
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, settings
from omegaconf import OmegaConf

os.environ["HF_HUB_OFFLINE"] = "1"  # no test waits for a network; before huggingface_hub is imported

from dovision.config import composition
from dovision.functional import estimates

pytest_plugins = ["made_runs", "made_slow", "made_browser"]
ROOT = Path(__file__).resolve().parents[1]
Command = Callable[..., int]

torch.set_num_threads(1)
gc.disable()  # while the tests are imported and collected, of which nothing is garbage
on_any_machine = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=25, derandomize="CI" in os.environ, **on_any_machine)
settings.load_profile("quick")  # --hypothesis-profile=default takes four times as many
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; commands would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests of a second device to a process of its own (tests/test_second_device.py), and that to them alone."""
    alone = "SECOND_DEVICE" in os.environ
    items[:] = [item for item in items if ("a_second_device" in item.name) is alone]


def pytest_collection_finish() -> None:
    """Spare each job, which collects garbage at its end, a walk over all that the tests have imported."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """Let no test wait for a disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Parse each text of a configuration once: a third of the time of a composition is that of its YAML."""
    load = OmegaConf.load

    @functools.cache
    def pickled(text: str) -> bytes:
        return pickle.dumps(load(io.StringIO(text)))

    def loaded(file: Any) -> Any:
        if not hasattr(file, "read"):
            return load(file)
        try:
            return pickle.loads(pickled(file.read()))
        except Exception:  # whose message names the file
            file.seek(0)
            return load(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(loaded))
        yield


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Compose a component by its name once, but inside a command, whose folders of configuration may be others."""
    compose = composition.composed_component
    kept = functools.cache(compose)

    def composed(*arguments: Any, **several: bool) -> Any:
        return (compose if GlobalHydra.instance().is_initialized() else kept)(*arguments, **several)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "composed_component", composed)
        yield


@pytest.fixture(scope="session", autouse=True)
def mode_of_experiments() -> Iterator[None]:
    """Compose a command once: Hydra does it once more to find hydra.mode, which experiments alone set."""
    get_mode = Hydra.get_mode

    def mode(self: Hydra, **asked: Any) -> Any:
        named = any("experiment" in word or word.startswith("hydra") for word in asked["overrides"])
        return get_mode(self, **asked) if named else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", mode)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real data, or a skip that says what to set."""
    folder = Path(os.environ.get("DOVISION_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set DOVISION_TEST_DATA")
    return folder


@pytest.fixture(scope="module")
def few_images() -> Iterator[None]:
    """Let estimates of a module's tests be of few images, so that their answers can be worked out by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "MIN_IMAGES", 1)
        yield


def command_code(main: Callable[[], None], *arguments: str) -> int:
    """The exit code of a console script with these arguments, run in this process."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [main.__module__, *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    return 0


@pytest.fixture(scope="session")
def run_command() -> Callable[..., int]:
    """A console script and its arguments to its exit code."""
    return command_code


@pytest.fixture(scope="session")
def dovision_evaluate() -> Command:
    """dovision-evaluate on a few of scikit-learn's digits, with a classifier that is fitted in seconds."""
    from dovision.jobs.hydra_main import evaluate as main

    small = ("dataset=digits", "training.classifier.epochs=1", "training.autoencoder.epochs=1", "evaluation.images=12")
    small += ("evaluation.num_thumbnails=2", "intervention.rows=2", "intervention.columns=2")

    def run(*overrides: str) -> int:
        other = any(override.startswith("intervention=") and "pixel_grid" not in override for override in overrides)
        return command_code(main, *(small[:-2] if other else small), *overrides)

    return run


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory, dovision_evaluate: Command) -> Path:
    """An output root in which the digits' classifier is fitted and one attacked run, `evaluate`, is completed."""
    root = tmp_path_factory.mktemp("fitted")
    assert dovision_evaluate(f"output_root={root}", "attack=fgsm", "attack.eps=[0.1,16/255]") == 0
    return root


@pytest.fixture(scope="session")
def fitted_run(fitted: Path) -> Path:
    """The run directory of that run."""
    return next((fitted / "evaluate").glob("*/run.json")).parent


@pytest.fixture
def copy(fitted: Path, tmp_path: Path) -> Path:
    """An output root of its own, with the fitted classifier and no runs."""
    shutil.copytree(fitted / "checkpoints", tmp_path / "checkpoints")
    return tmp_path


@pytest.fixture(scope="session")
def offline_runs() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads the records of each offline W&B run in a folder, by type, as W&B's own reader gives them."""

    def read(path: Path) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        records: dict[str, list[Any]] = {}
        for record in map(json.loads, lines):
            records.setdefault(record["type"], []).append(record[record["type"]])
        return records

    return lambda folder: [read(path) for path in sorted(folder.rglob("run-*.wandb"))]


@pytest.fixture(scope="session")
def offline_run(offline_runs: Callable[[Path], list[dict[str, Any]]]) -> Callable[[Path], dict[str, Any]]:
    """The records of the one offline W&B run in a run directory."""

    def read(folder: Path) -> dict[str, Any]:
        (records,) = offline_runs(folder)
        return records

    return read


LATEX = r"""\documentclass[twocolumn]{article}
\usepackage[a4paper,margin=18mm]{geometry}
\usepackage{graphicx}
\begin{document}
%s
\end{document}
"""


@pytest.fixture
def typeset(tmp_path: Path) -> Callable[..., str]:
    """Sets floats in LaTeX, which lie in tmp_path, and returns its log; a skip that says what to install."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: apt-get install texlive-latex-base")

    def run(*floats: str) -> str:
        (tmp_path / "all.tex").write_text(LATEX % "\\clearpage\n".join(floats))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
        return done.stdout

    return run


def draw_svg_only(patch: pytest.MonkeyPatch) -> None:
    from dovision.report import style

    patch.setattr(style, "FORMS", {"svg": style.FORMS["svg"]})


@pytest.fixture
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures as SVG alone, as a page holds them: PDF and PNG take most of the time of a report."""
    draw_svg_only(monkeypatch)


@pytest.fixture(scope="session")
def page_of() -> Callable[..., Path]:
    """The function `report_of_sweep` of made_runs, with figures drawn as SVG alone."""
    from made_runs import report_of_sweep

    def write(*arguments: Any, **settings: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            draw_svg_only(patch)
            return report_of_sweep(*arguments, **settings)

    return write


@pytest.fixture
def nih_root(tmp_path: Path) -> Path:
    """A small ChestX-ray14 as it is released: 16 films of 8 patients, 7 and 8 in the test list, and three boxes."""
    import numpy as np
    from PIL import Image

    root, random = tmp_path / "nih", np.random.default_rng(0)
    names = [f"{patient:08d}_{number:03d}.png" for patient in range(1, 9) for number in range(2)]
    findings = ("No Finding", "Atelectasis|Mass", "Infiltration", "Pleural_Thickening")
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    rows = [header + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"]
    for place, name in enumerate(names):
        folder = root / f"images_{1 + place // 8:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / name)
        patient = 1 + place // 2
        rows.append(f"{name},{findings[place % 4]},{place % 2},{patient},05{patient}Y,F,PA,2500,2048,0.168,0.168,")
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,", "00000007_000.png,Atelectasis,256.2,512,255.9,128"]
    boxes += ["00000007_000.png,Atelectasis,0,0,64,64", "00000008_001.png,Infiltrate,512,512,512,512"]
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:12]))
    (root / "test_list.txt").write_text("\r\n".join(names[12:]) + "\r\n")
    return root
