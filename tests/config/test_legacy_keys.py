"""Words of Lightning, of lightning-hydra-template and of earlier versions are refused with what does their work."""

from __future__ import annotations

import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from dovision.config import composition
from dovision.config.errors import error_text
from dovision.config.legacy_keys import LEGACY_COMPONENTS, LEGACY_KEYS, replacement
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.sweeps.validation import Checks

CONF = configuration_folder()
COMMANDS = ("train", "evaluate")
CHOSEN = [
    "dataset=image_folder",
    "logger=[wandb,mlflow]",
    "explainer=[captum,occlusion,grad_cam,kernel_shap,smooth_grad]",
]
NAMED = re.compile(r"(?<![+.])\b(?:[a-z]+_[a-z_]+|[a-z]+(?:\.[a-z_]+)+|name|tags|dataset|model)\b")  # keys


@pytest.fixture(scope="module")
def composed():
    """The configuration of each command."""
    with initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        return {command: compose(command, CHOSEN) for command in COMMANDS}


def refusal(command: str, override: str) -> str:
    """The sentence with which an override is refused before anything starts."""
    with initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        try:
            config = compose(command, [override], return_hydra_config=True)
            Checks(command)(config, [override], config.hydra.runtime.choices)
        except (ValueError, HydraException) as error:
            return composition.refusal(error, command, [override])
    return ""


@pytest.mark.parametrize(
    ("word", "command", "plus"),
    [
        *(("data", "evaluate", ""), ("trainer.max_epochs", "evaluate", "+"), ("model.optimizer", "evaluate", "++")),
        *(("data", "train", "++"), ("trainer.max_epochs", "train", ""), ("model.optimizer", "train", "+")),
    ],
)
def test_a_word_is_refused_with_what_does_its_work_however_it_is_written(word, command, plus):
    assert refusal(command, f"{plus}{word}=3") == replacement(word)


@pytest.fixture(scope="module")
def alone():
    """The configuration of an evaluation in which nothing is chosen."""
    with initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        return compose("evaluate", return_hydra_config=True)


@pytest.mark.parametrize("word", LEGACY_KEYS)
def test_a_word_is_no_key_and_the_reason_of_its_refusal_is_what_does_its_work(alone, word):
    (override,) = OverridesParser.create().parse_overrides([f"{word}=3"])
    assert OmegaConf.select(alone, word) is None
    assert composition._reason(override, (), alone) == replacement(word)


@pytest.mark.parametrize("word", LEGACY_KEYS)
def test_the_keys_of_a_sentence_exist(composed, word):
    for name in NAMED.findall(LEGACY_KEYS[word].replace("{rest}", "")):
        groups = {path.stem for path in CONF.rglob("*.yaml")} | {path.name for path in CONF.iterdir()}
        keys = [OmegaConf.select(config, name, default="?") for config in composed.values()]
        assert set(map(str, keys)) != {"?"} or name in groups, name


def test_what_is_written_below_a_word_goes_on_below_its_place():
    assert replacement("model.optimizer.lr") == (
        "model.optimizer.lr is not a key here. Set training.classifier.optimizer.lr."
    )
    assert replacement("data.transforms.size").startswith("data.transforms.size is not a key here. Choose images by ")


@pytest.mark.parametrize("path", ["", "model", "model.width", "trainer", "trainer.devices", "dataset.root", "nothing"])
def test_nothing_is_said_of_other_keys(path):
    assert replacement(path) == ""


@pytest.mark.parametrize("component", LEGACY_COMPONENTS)
def test_a_component_that_is_gone_is_refused_with_words_that_compose(component):
    group, _, name = component.partition(".")
    around = "value@intervention.value" if group == "value" else group
    words = LEGACY_COMPONENTS[component]
    first = ["intervention=activation"] if group == "value" else []
    with initialize_config_dir(str(CONF), **HYDRA_DEFAULTS):
        assert compose("evaluate", [*first, *words.split()])
        with pytest.raises(HydraException) as raised:
            compose("evaluate", [*first, f"{around}={name}"])
    named = (CONF / "detector" / "pytorch_ood.yaml").read_text()
    assert words.partition(".method=")[2] in named
    assert f"{group} has no component {name!r}. Write {words}. It has: " in error_text(raised.value)
