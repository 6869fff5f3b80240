"""Pages of the site that are made from docstrings and conf/, the links to them, and what `make docs` needs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import dovision
from programs import program

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
KEY = re.compile(r"(?P<indent> *)(?P<name>[a-zA-Z][\w@.]*): *(?P<value>[^#\s]?)")


@pytest.fixture(scope="module")
def site_pages():
    """The program that makes the pages, as a module."""
    return program("docs/site_pages.py")


@pytest.fixture(scope="module")
def run_notebooks():
    """The program that runs the notebooks, as a module."""
    return program("docs/run_notebooks.py")


def test_every_public_name_is_in_the_api_reference_once(site_pages):
    shown = re.findall(r"^\.\. auto\w+:: dovision\.(\w+)$", "\n".join(site_pages.api_pages().values()), re.MULTILINE)
    assert sorted(shown) == sorted(dovision._homes())


def test_every_yaml_of_the_configuration_is_shown_as_it_stands(site_pages):
    text = "\n".join(site_pages.configuration_pages().values())
    left_out = {"help", "hydra_logging", "job_logging", "sweeper"}  # of Hydra itself
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.parent.name in left_out or path.read_text() in text, path


def unexplained(group: Path) -> set[str]:
    """Keys with a value of their own that no comment of a group explains: beside one, above it, or at what holds it."""
    explained, found = set(), set()
    for path in group.glob("*.yaml"):
        outer: list[tuple[int, bool]] = []  # indents of the keys that hold the line, and whether these have a comment
        above = ""
        for line in path.read_text().splitlines():
            if key := KEY.match(line):
                outer = [each for each in outer if each[0] < len(key["indent"])]
                commented = "#" in line or above.lstrip().startswith("#") or any(each[1] for each in outer)
                outer.append((len(key["indent"]), commented))
                if commented:
                    explained.add(key["name"])
                elif key["value"] and "${" not in line:
                    found.add(key["name"])
            above = line
    return found - explained - {"command", "dir", "output_subdir", "subdir"}  # of the commands, and of Hydra


def test_every_key_of_the_configuration_has_a_comment():
    groups = {path.parent for path in (ROOT / "conf").rglob("*.yaml")}
    left_out = {"experiment", "debug", "hparams_search", "help", "hydra_logging", "job_logging", "sweeper"}
    found = {group.name: unexplained(group) for group in groups if group.name not in left_out}
    assert {name: keys for name, keys in found.items() if keys} == {}


def test_what_is_written_is_what_git_ignores(site_pages, tmp_path):
    site_pages.write(tmp_path)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for folder in (tmp_path / "reference").iterdir():
        assert f"/docs/reference/{folder.name}/" in ignored
        index = (folder / "index.md").read_text()
        assert {path.stem for path in folder.glob("*.md")} - {"index"} <= set(index.split())


def test_every_page_is_in_a_table_of_contents():
    named = set()
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            lines = [
                line.partition("<")[2].rstrip(">") or line for line in tree.splitlines() if line[:1] not in ("", ":")
            ]
            named |= {(page.parent / line).resolve().relative_to(DOCS).as_posix() for line in lines}
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix() for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    }
    pages = {page for page in pages if not page.startswith(("reference/api/", "reference/configuration/", "_build/"))}
    assert pages - named == {"index"}


def test_a_notebook_is_stored_with_its_outputs():
    for path in DOCS.rglob("*.ipynb"):
        if "_build" not in path.parts:
            assert '"output_type"' in path.read_text(), f"{path.name}: run make gallery"
            assert '"output_type": "error"' not in path.read_text(), path.name
            assert path.stat().st_size < 1_000_000, path.name


def test_a_large_picture_loses_pixels_and_no_colours(run_notebooks):
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (360, 360, 3), np.uint8)).save(held, "png")
    assert len(held.getvalue()) > run_notebooks.MOST_BYTES
    with Image.open(io.BytesIO(run_notebooks.within_size(held.getvalue()))) as picture:
        assert (picture.mode, picture.size) == ("RGB", (288, 288))


def test_a_notebook_shows_no_clock_time_no_duration_and_no_place_on_a_disk(run_notebooks):
    for path in [DOCS / "quickstart.ipynb", *DOCS.glob("gallery/*.ipynb")]:
        found = run_notebooks.of_a_machine(nbformat.read(path, as_version=4))
        assert found == [], f"{path.name} shows {found}. Run: python docs/run_notebooks.py {path.relative_to(ROOT)}"


def test_what_a_command_prints_is_stored_without_its_clock_times(run_notebooks, tmp_path):
    printed = "[16:34:50] fitting\n[16:34:51] completed in 11 s: outputs/evaluate/01e394a55dd4\n"
    output = nbformat.v4.new_output("stream", name="stdout", text=printed)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("command()", outputs=[output])])
    run_notebooks.store(tmp_path / "made.ipynb", notebook)
    (cell,) = nbformat.read(tmp_path / "made.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "fitting\ncompleted: outputs/evaluate/01e394a55dd4\n"


@pytest.mark.parametrize(
    "shown", ["/tmp/tmpab12/run.json", "at 09:15:02", "fitted in 3.2 s", "<Net at 0x7f3a5c2b10d0>"]
)
def test_a_notebook_that_shows_its_machine_is_not_stored(run_notebooks, tmp_path, shown):
    output = nbformat.v4.new_output("display_data", data={"text/plain": shown})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[output])])
    with pytest.raises(ValueError, match=r"made\.ipynb must print nothing of this machine"):
        run_notebooks.store(tmp_path / "made.ipynb", notebook)
    assert not (tmp_path / "made.ipynb").exists()
