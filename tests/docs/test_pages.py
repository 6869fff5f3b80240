"""README.md and the pages of docs/: commands compose, those on digits are planned, Python runs, links hold."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from PIL import Image
from sklearn.datasets import load_sample_image

from made_config import composed

ROOT = Path(__file__).resolve().parents[2]
OUTER = ["README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "SECURITY.md"]
EXTEND = sorted((ROOT / "docs" / "extend").glob("*.md"))  # whose examples tests/docs/test_extend.py runs
MADE = re.compile(r"(docs/)?(_build|reference/(api|configuration))/")  # by make docs
DOCS = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if path not in EXTEND and not MADE.match(path.relative_to(ROOT).as_posix())
]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [*map(ROOT.joinpath, OUTER), *DOCS, *EXTEND]}
SHOWN = {name: text for name, text in TEXTS.items() if not name.startswith("docs/extend/")}
LINES = dict.fromkeys(  # each command once, however many pages show it
    line for text in SHOWN.values() for line in re.findall(r"^(?: {4})?(dovision-.*)", text.replace("\\\n", ""), re.M)
)
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
NAMED = dict.fromkeys(words for text in SHOWN.values() for words in re.findall(r"`(experiment=[\w./ =]+)`", text))
EXPERIMENTS = [
    ["dovision-evaluate", *shlex.split(words)]
    for words in NAMED  # one alone is composed by tests/jobs/test_evaluate.py, if there is such a file
    if not (ROOT / "conf" / words.replace("=", "/", 1)).with_suffix(".yaml").is_file()
]
RUN = [
    command
    for command in COMMANDS
    if command[0] == "dovision-evaluate"
    and "dataset=digits" in command
    and "hydra/launcher=submitit_slurm" not in command
    and not any(word.startswith(("checkpoint=", "model.name=vit")) for word in command)  # a file; a minute's network
]
COMPOSED = [  # of those that are planned, which composes them, the launchers alone are looked at
    each for each in COMMANDS + EXPERIMENTS if each not in RUN or any(word.startswith("hydra") for word in each)
]
PYTHON = {name: found for name, text in SHOWN.items() if (found := re.findall(r"```python\n(.*?)```", text, re.DOTALL))}
SCRIPTS = {"docs/how-to/lightning.md": "run by test_lightning_page.py"}


def first(override: Override) -> str:
    """The override of the first job of a sweep."""
    value = (
        next(override.sweep_string_iterator()) if override.is_sweep_override() else override.get_value_element_as_str()
    )
    return f"{override.input_line.partition('=')[0]}={value}"


@pytest.mark.parametrize("page", [page for page in PYTHON if page not in SCRIPTS])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    names: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    Image.fromarray(load_sample_image("china.jpg")).save("photo.jpg")
    for code in PYTHON[page]:
        exec(code, names)
    if page == "README.md":
        assert names["result"].map.shape == (1, 224, 224)


@pytest.mark.parametrize("command", COMPOSED, ids=" ".join)
def test_every_command_composes(command):
    name, *words = command
    overrides = OverridesParser.create().parse_overrides([word for word in words if "=" in word or word[0] in "+~"])
    launchers = {item.value() for item in overrides if item.key_or_group == "hydra/launcher"}
    assert launchers <= {path.stem for path in (ROOT / "conf" / "hydra" / "launcher").glob("*.yaml")}
    asked = [first(item) for item in overrides if not item.key_or_group.startswith("hydra")]
    asked += [f"hydra.searchpath=[{ROOT}/paper/conf]"]
    assert composed(*asked, command=name.removeprefix("dovision-"))


@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_what_is_shown_of_the_digits_is_planned_by_the_command(command, dovision_evaluate, tmp_path, capsys):
    pytest.importorskip("timm")
    words = [word for word in command[1:] if word != "-m" and not word.startswith("hydra")]
    several = ["-m"] * ("-m" in command)
    assert dovision_evaluate(*words, "dry_run=true", f"output_root={tmp_path}", *several) == 0
    assert "job" in capsys.readouterr().out


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_that_is_linked_exists(page):
    text = re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    here = (ROOT / page).parent
    assert [
        link for link in links if not re.match(r"\w+://", link) and not (here / link).exists() and not MADE.match(link)
    ] == []


@pytest.mark.parametrize("name", ["my photo.jpg", "Anna's cat, [1] = x.jpg"])
def test_a_photo_may_have_any_name(name):
    words = ["make", "--dry-run", "--always-make", "photo", f"PHOTO={name}"]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (line,) = [line for line in lines if "dovision-evaluate" in line]
    override = OverridesParser.create().parse_override(shlex.split(line)[-1])
    assert override.value() == name
