"""Wheel and sdist, each installed by pip into an environment that has nothing of this checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def built(kind: str, folder: Path) -> Path:
    """The wheel or the sdist of this checkout."""
    build = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (found,) = folder.glob("dovision-*")
    return found


def empty_environment(folder: Path) -> tuple[Path, str]:
    """Python of a new environment, whose needs come from this one, and its folder of packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    ).stdout.strip()
    # what the package needs comes from this environment, the package itself from the file that was built
    Path(site, "needs.pth").write_text(sysconfig.get_path("purelib"))
    return python, site


def installed(kind: str, folder: Path) -> tuple[Path, str]:
    """Python and folder of packages of a new environment with the wheel or the sdist."""
    python, site = empty_environment(folder / "venv")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([*install, built(kind, folder)], check=True)
    return python, site


@pytest.mark.parametrize(
    "kind", [pytest.param("wheel", marks=pytest.mark.slow), pytest.param("sdist", marks=pytest.mark.long)]
)
def test_a_console_script_works_in_any_folder_without_the_checkout(kind, tmp_path):
    python, site = installed(kind, tmp_path)
    where = [python, "-c", "import dovision; print(dovision.__file__)"]
    assert subprocess.run(where, capture_output=True, text=True, cwd=tmp_path).stdout.startswith(site)
    command = [tmp_path / "venv" / "bin" / "dovision-evaluate", "experiment=demo", "--cfg", "job"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert yaml.safe_load(out.stdout)["name"] == "demo"


@pytest.mark.long
def test_the_calls_of_each_kind_work_from_a_wheel_in_an_empty_folder(tmp_path):
    python, _ = installed("wheel", tmp_path)
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "test_adapters.py", folder)
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    calls = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_adapters.py"]
    out = subprocess.run(calls, capture_output=True, text=True, cwd=folder, env=without)
    assert out.returncode == 0, out.stdout
    assert int(re.search(r"(\d+) passed", out.stdout)[1]) > 30
