"""What tests do once is what Hydra does each time."""

from __future__ import annotations

import io
import shutil

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf
from yaml.error import MarkedYAMLError

from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder

WORDS = ["dataset=digits", "attack=pgd", "attack.eps=0.1"]


@pytest.mark.parametrize("mode", RunMode)
def test_a_configuration_composed_once_is_the_one_composed_in_its_mode(mode):
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        loader = GlobalHydra.instance().config_loader()
        for_mode = loader.load_configuration("evaluate", WORDS, RunMode.MULTIRUN, validate_sweep_overrides=False)
        assert loader.load_configuration("evaluate", WORDS, mode) is for_mode
        added = [*WORDS, f"hydra.mode={mode.name}"]
        loader.load_configuration("evaluate", WORDS, RunMode.MULTIRUN, validate_sweep_overrides=False)
        assert loader.load_configuration("evaluate", added, mode) == loader.load_configuration("evaluate", added, mode)
        again = loader.load_configuration("evaluate", WORDS, mode)
        assert again is not for_mode
        assert again == for_mode
        assert loader.load_configuration("evaluate", [*WORDS, "seed=2"], mode).seed == 2


def test_values_with_commas_are_refused_without_a_sweep():
    words = [*WORDS, "seed=1,2"]
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        loader = GlobalHydra.instance().config_loader()
        loader.load_configuration("evaluate", words, RunMode.MULTIRUN, validate_sweep_overrides=False)
        with pytest.raises(ConfigCompositionException, match="--multirun"):
            loader.load_configuration("evaluate", words, RunMode.RUN)


def test_a_text_is_parsed_once_and_each_configuration_is_its_own():
    text = "a: {b: [1, '${c}', '???']}\nc: 2\n"
    first, second = OmegaConf.load(io.StringIO(text)), OmegaConf.load(io.StringIO(text))
    assert first == second == OmegaConf.create({"a": {"b": [1, "${c}", "???"]}, "c": 2})
    first.a.b[0] = 3
    assert second.a.b[0] == OmegaConf.load(io.StringIO(text)).a.b[0] == 1
    for _ in range(2):
        with pytest.raises(MarkedYAMLError):
            OmegaConf.load(io.StringIO("a: [1"))


@pytest.mark.parametrize("last", ["seed=1", "attack@detection.attacks.typo=pgd", "explainer=[grad_cam]"])
def test_defaults_that_are_listed_once_are_those_of_a_folder_of_ones_own(last, tmp_path):
    def composed(folder):
        with initialize_config_dir(str(folder), **HYDRA_DEFAULTS):
            loader = GlobalHydra.instance().config_loader()
            words = [*WORDS, "~logger", "+attack@detection.attacks.pgd=pgd", last]
            try:
                config = loader.load_configuration("evaluate", words, RunMode.RUN)
            except ConfigCompositionException as error:
                return str(error)
            return config.hydra.runtime.choices, {key: value for key, value in config.items() if key != "hydra"}

    own = shutil.copytree(configuration_folder(), tmp_path / "conf")
    first, again = composed(configuration_folder()), composed(configuration_folder())
    assert first == again == composed(own)
