"""Examples of docs/extend, run as shown: each by itself, under its contract, and all in one command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovision.results.run_record import read_sweep

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "extend").glob("[a-z]*.md"))
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml)|in a notebook)\n(.*?)```", re.DOTALL)
IN_BOTH_MODES = """
import contextlib, pytest, torch

def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("mode")
    metafunc.parametrize("mode", ["usual", "inference"])

@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    mode = pyfuncitem.callspec.params["mode"]
    with torch.inference_mode() if mode == "inference" else contextlib.nullcontext():
        return (yield)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the pages show, where the pages say that they lie."""
    root = tmp_path_factory.mktemp("docs")
    for page in PAGES:
        for name, code in BLOCK.findall(page.read_text()):
            if name != "in a notebook":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(code)
    return root


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_runs(page, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    blocks = BLOCK.findall(page.read_text())
    shown = {"logger": 2, "intervention": 5}  # a logger's class is Lightning's; an intervention has values as well
    assert len(dict(blocks)) == shown.get(page.stem, 3)
    for name, code in blocks:
        if name == "in a notebook":
            exec(code, {})


@pytest.mark.slow
def test_the_examples_keep_the_contracts_of_their_kinds_in_inference_mode_too(folder, tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for copied in [ROOT / "tests" / "conftest.py", *(ROOT / "tests").glob("made_*.py")]:
        (tmp_path / "tests").mkdir(exist_ok=True)
        shutil.copy(copied, tmp_path / "tests")
    contracts = {page.stem: path.relative_to(ROOT) for page in PAGES
                 for path in (ROOT / "tests").rglob(f"{page.stem}s/test_contract.py")}  # fmt: skip
    for contract in contracts.values():
        shutil.copytree(ROOT / contract.parent, tmp_path / contract.parent)
    (tmp_path / "conftest.py").write_text(IN_BOTH_MODES)
    names = [path.stem for kind in contracts for path in (folder / "conf" / kind).glob("*.yaml")]
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", " or ".join(names)]
    command += map(str, contracts.values())
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
    for mode in ("usual", "inference"):
        passed = "\n".join(line for line in done.stdout.splitlines() if re.search(rf"\b{mode}\b.* PASSED", line))
        assert {name for name in names if re.search(rf"\b{name}\b", passed)} == set(names)


@pytest.mark.long
def test_all_parts_of_the_pages_work_together_in_one_command(folder, monkeypatch, tmp_path):
    from dovision.jobs import evaluate, report

    arguments = [
        "dataset=bars",
        "model=tiny",
        "intervention=stripes",
        "attack=darken",
        "explainer=[input_gradient]",
        "logger=[csv,plain_csv]",
    ]
    arguments += ["detector=[roughness]", "+attack@detection.attacks.darken=darken", "detection.val_images=20"]
    arguments += ["training.classifier.epochs=2", "evaluation.images=12", f"output_root={tmp_path}"]
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["dovision-evaluate", "--config-dir", str(folder / "conf"), *arguments])
    evaluate.main()
    (run,) = read_sweep(tmp_path / "evaluate")
    assert run.summary["conditions"]["eps=8/255"]["images"] == 12
    assert {row["explainer"] for row in run.summary["maps"]} == {"input_gradient"}
    assert {row["detector"] for row in run.summary["detection"]} == {"roughness"}
    assert "accuracy/clean" in (run.folder / "plain" / "metrics.csv").read_text()
    arguments = ["dovision-report", "--config-dir", str(folder / "conf"), f"sweep={tmp_path / 'evaluate'}"]
    monkeypatch.setattr("sys.argv", arguments)
    report.main()
    assert (tmp_path / "evaluate" / "report" / "figures" / run.folder.name / "accuracy_drop.tex").is_file()
