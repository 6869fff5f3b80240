"""Help and version of the commands."""

import functools
import shlex
import subprocess
import sys

import pytest

from dovision.config.sources import configuration_folder
from dovision.jobs import scripts

COMMANDS = ("train", "evaluate", "report", "sites", "verify", "view")


@functools.cache
def helped() -> tuple[dict[str, str], list[str]]:
    """What `--help` of each command prints, and the top packages that all of them import, in a process of their own."""
    script = (
        f"import sys\nfrom dovision.jobs import scripts\nfor name in {COMMANDS}:\n"
        "    sys.argv = [f'dovision-{name}', '--help']\n"
        "    try:\n        getattr(scripts, name)()\n    except SystemExit as end:\n        assert not end.code\n"
        "    print('\\0', end='')\nprint(*{each.partition('.')[0] for each in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(COMMANDS, done.stdout.split("\0"), strict=False)), done.stderr.split()


def examples(text: str, name: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.split(" ")[0] == f"dovision-{name}"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_waits_for_no_torch_and_gives_examples_that_can_be_composed(name, run_command, capsys):
    texts, imported = helped()
    assert not {"torch", "pytorch_lightning", "pandas"} & set(imported)
    text = texts[name]
    assert text.startswith(f"dovision-{name}: ")
    assert examples(text, name)
    for words in examples(text, name):
        if "-m" not in words:
            assert run_command(getattr(scripts, name), *words, "--cfg", "job") == 0
            assert "Did you mean" not in capsys.readouterr().err


def test_the_groups_of_an_evaluation_are_listed(run_command, capsys):
    assert run_command(scripts.evaluate, "--help") == 0
    text = capsys.readouterr().out
    for group in configuration_folder().iterdir():
        if group.is_dir() and group.name not in ("hydra", "local"):
            assert f"{group.name}: " in text


@pytest.mark.slow
def test_a_misspelt_key_waits_for_no_torch():
    script = (
        "import sys\nfrom dovision.jobs.scripts import evaluate\nfor words in (['modle=small_cnn'], "
        "['-m', 'seed=0,1', 'attack=pgd', 'attack.epz=0.1']):\n    sys.argv = ['dovision-evaluate', *words]\n"
        "    try:\n        evaluate()\n    except SystemExit as error:\n        print(error.code)\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second, modules = done.stdout.splitlines()
    assert first == second == "1"
    assert not {"torch", "pandas", "pydantic", "pytorch_lightning"} & set(modules.split())
    model, eps = done.stderr.splitlines()
    assert model.startswith("dovision-evaluate: the configuration has no key 'modle'. Did you mean model?")
    assert eps.startswith("dovision-evaluate: attack has no key 'epz'. Did you mean eps?")


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_sweep_may_be_asked_for_at_any_place(flag, place):
    words = ["seed=0,1", "intervention.rows=2", "--config-dir=conf"]
    given = [*words[:place], flag, *words[place:]]
    assert scripts.multirun_first(given) == [flag, *words]
    assert scripts.multirun_first(words) == words


def test_a_reader_that_has_what_it_wanted_is_no_error():
    script = "import sys; from dovision.jobs import scripts; sys.argv = ['dovision-view', '--help']; scripts.view()"
    command = f"{shlex.join([sys.executable, '-c', script])} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("dovision-view: ")
    assert done.stderr == ""
