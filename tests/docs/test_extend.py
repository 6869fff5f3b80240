"""Examples of docs/extend, run as shown: all in one command, and each under the contract of its kind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovision.results.run_record import read_sweep

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"^# (\S+\.(?:py|yaml))\n(.*?)(?=^# conf/|^```)", re.DOTALL | re.MULTILINE)
CONTRACTS = ("attacks", "datasets", "detectors", "explainers", "interventions", "report/figures")
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
    """The files that the page shows, where it says that they lie."""
    root = tmp_path_factory.mktemp("docs")
    for name, code in FILE.findall((ROOT / "docs" / "extend" / "README.md").read_text()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(code)
    return root


def test_the_examples_keep_the_contracts_of_their_kinds_in_inference_mode_too(folder, tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for copied in [ROOT / "tests" / "conftest.py", *(ROOT / "tests").glob("made_*.py")]:
        (tmp_path / "tests").mkdir(exist_ok=True)
        shutil.copy(copied, tmp_path / "tests")
    for package in CONTRACTS:
        shutil.copytree(ROOT / "tests" / package, tmp_path / "tests" / package)
    (tmp_path / "conftest.py").write_text(IN_BOTH_MODES)
    names = [path.stem for package in CONTRACTS for path in (folder / "conf").glob(f"{Path(package).name[:-1]}/*.yaml")]
    assert len(names) == len(CONTRACTS)
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", " or ".join(names)]
    command += [f"tests/{package}/test_contract.py" for package in CONTRACTS]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
    for mode in ("usual", "inference"):
        passed = "\n".join(line for line in done.stdout.splitlines() if re.search(rf"\b{mode}\b.* PASSED", line))
        assert {name for name in names if re.search(rf"\b{name}\b", passed)} == set(names)


@pytest.mark.long
def test_a_component_of_each_kind_works_in_one_command(folder, monkeypatch, tmp_path):
    from dovision.jobs.hydra_main import evaluate, report, train

    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(main, *arguments):
        monkeypatch.setattr("sys.argv", ["dovision", "--config-dir", str(folder / "conf"), *arguments])
        main()

    fit = ["dataset=bars", "model=tiny", "training=with_brier", "training.classifier.epochs=2"]
    fit += ["logger=[csv,plain_csv]"]
    fit += [f"output_root={tmp_path}"]
    components = ["intervention=stripes", "attack=darken", "explainer=[input_gradient]", "detector=[roughness]"]
    components += ["+attack@detection.attacks.darken=darken", "detection.val_images=20", "evaluation.images=12"]
    run(evaluate, *fit, *components)
    (evaluated,) = read_sweep(tmp_path / "evaluate")
    assert evaluated.summary["conditions"]["eps=8/255"]["images"] == 12
    assert {row["explainer"] for row in evaluated.summary["maps"]} == {"input_gradient"}
    assert {row["detector"] for row in evaluated.summary["detection"]} == {"roughness"}
    logged = (evaluated.folder / "plain" / "metrics.csv").read_text()
    assert "accuracy/clean" in logged
    assert "val_brier" in logged
    run(report, f"sweep={tmp_path / 'evaluate'}")
    assert (tmp_path / "evaluate" / "report" / "figures" / evaluated.folder.name / "accuracy_drop.csv").is_file()
    run(train, *fit, "autoencoder=soft_code", "training.autoencoder.epochs=1")
    (fitted,) = (tmp_path / "train").glob("*/plain/metrics.csv")
    assert "autoencoder/train_loss" in fitted.read_text()
