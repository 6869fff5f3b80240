"""The pages of results and the results of README.md are those that docs/results_tables.py makes of recorded numbers."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from dovision.config import settings
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.jobs.keys import check_choices, check_target, drop_unselected
from programs import program

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables():
    """The program that makes the pages, as a module."""
    return program("docs/results_tables.py")


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/earlier_results.md"])
def test_a_page_shows_the_recorded_numbers(page, tables):
    made = tables.pages()[ROOT / page]
    assert f"`{tables.COMMAND}`" in made
    assert (ROOT / page).read_text() == made, f"{page} is out of date. Mend docs/results/, and run: {tables.COMMAND}"


def test_a_sentence_cannot_claim_what_an_interval_does_not_show(tables):
    shown, not_shown = [0.16, 0.10, 0.22], [0.04, -0.01, 0.09]
    assert tables.listed([shown, shown], way=1) == "+0.16 [+0.10, +0.22] and +0.16 [+0.10, +0.22]"
    assert tables.listed([shown, not_shown], way=(1, 0)) == "+0.16 [+0.10, +0.22] and +0.04 [-0.01, +0.09]"
    assert tables.listed([not_shown], way=0) == "+0.04 [-0.01, +0.09]"
    for numbers, way in (([shown, not_shown], 1), ([shown], 0), ([not_shown], -1), ([shown, not_shown], (1, 1))):
        with pytest.raises(ValueError, match="Mend the sentence"):
            tables.listed(numbers, way=way)


def commands():
    for line in (ROOT / "docs/results/commands.sh").read_text().replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program.startswith("dovision-"):  # not PYTHONPATH=., with components of paper/
            at = [f"hydra.searchpath=[{ROOT}/paper/conf]"] * ("--config-dir" in words)
            yield program.removeprefix("dovision-"), at + [word for word in words if "=" in word or word[0] in "+~"]


@pytest.mark.parametrize(("command", "words"), list(commands()), ids=lambda value: "".join(value)[:60])
def test_a_command_behind_the_page_is_one_of_this_version(command, words):
    words = [re.sub(r"^([\w.]+=\d),[\d,]+$", r"\1", word) for word in words]
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        config = compose(command, words, return_hydra_config=True)
        check_choices(command, config, words, config.hydra.runtime.choices)
        job = settings.read(command, drop_unselected(command, config, words))
    for component in settings.components(job):
        check_target(component.where, component)


@pytest.mark.parametrize(
    ("ours", "others", "paired", "verdict"),
    [
        ([(0.9, 0.8, 0.95)] * 2, [(0.6, 0.5, 0.7)] * 2, [], "wins"),
        ([(0.9, 0.8, 0.95)], [(0.85, 0.7, 0.9)], [(0.05, 0.01, 0.1)], "wins"),
        ([(0.1, 0.0, 0.2)] * 2, [(0.3, 0.25, 0.4)] * 2, [], "loses"),
        ([(0.1, 0.0, 0.2)] * 2, [(0.3, 0.25, 0.4), (0.2, 0.1, 0.4)], [], "behind, not shown in every training"),
        ([(0.9, 0.8, 0.95)] * 2, [(0.85, 0.7, 0.9)], [], "ahead, not shown in every training"),
        ([(0.5, 0.4, 0.6)] * 2, [(0.4, 0.3, 0.5), (0.6, 0.5, 0.7)], [], "no difference shown"),
    ],
)
def test_a_verdict_is_what_intervals_show_in_all_trainings(tables, ours, others, paired, verdict):
    rows = ([dict(zip(tables.ESTIMATE, one, strict=True)) for one in some] for some in (ours, others, paired))
    assert tables.verdict(*rows) == verdict
