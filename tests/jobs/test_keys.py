"""A name that does not exist, and a key that nothing obeys, are refused before anything starts."""

import re
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dovision.config import settings
from dovision.config.composition import hydra_outside, refusal
from dovision.config.errors import error_text
from dovision.config.sources import configuration_folder
from dovision.identity.relevance import register_resolvers
from dovision.jobs import hydra_main
from dovision.jobs.command import Command
from dovision.jobs.keys import check_target, drop_unselected
from made_config import composed

CONF = configuration_folder()
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml") if "  help:" in path.read_text())
CHECKED_LATER = ("detection.seen", "dataset.split_folders", "dataset.masks")  # names of attacks; by the dataset

COMBINED = "explainer.effect_map_combined"


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("evaluate", ["explainer=[effect_map_combined]", f"explainer@{COMBINED}.explainers.fading=xyzzy"]),
        ("evaluate", ["intervention=joint", "intervention@intervention.held=xyzzy"]),
        ("report", ["hydra/job_logging=xyzzy"]),
        ("sites", ["dataset=xyzzy"]),
        ("train", ["autoencoder=xyzzy"]),
        ("train", ["local=xyzzy"]),
        ("verify", ["hydra/hydra_logging=xyzzy"]),
        ("view", ["autoencoder=xyzzy"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_name_that_does_not_exist_is_refused(command, overrides, run_command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(getattr(hydra_main, command), *overrides) == 1
    said = capsys.readouterr().err
    group = overrides[-1].partition("=")[0].partition("@")[0]
    assert re.fullmatch(rf"dovision-{command}: {group} has no component 'xyzzy'\. It has: .+\.\n", said)
    assert list(tmp_path.iterdir()) == []


def test_a_group_of_hydras_own_takes_one_value_in_a_sweep(refused):
    line = refused("report", "-m", "sweep=.", "hydra/job_logging=console,consol")
    assert line == "hydra/job_logging takes one value for all jobs, got hydra/job_logging=console,consol."


def nodes(node, where=""):
    """Every mapping of a configuration that has keys of its own, with its path."""
    yield where, node
    for key in list(map(str, node)):
        there = not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key)
        if key != "hydra" and there and OmegaConf.is_dict(node[key]):
            yield from nodes(node[key], f"{where}.{key}".lstrip("."))


@pytest.fixture(scope="module")
def known() -> dict[str, DictConfig]:
    """What each command declares."""
    known = {command: composed(command=command, hydra=True) for command in COMMANDS}
    known["report"].sweep = known["verify"].run = "outputs"  # which must be given
    return known


def check_keys(command: str, config: DictConfig) -> None:
    for component in settings.components(settings.read(command, config)):
        check_target(component.where, component)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_nothing_reads_is_refused_in_every_node_of_every_command(command, known):
    config = OmegaConf.masked_copy(known[command], [key for key in known[command] if key != "hydra"])
    for _, node in (each for each in nodes(config) if each[0] not in CHECKED_LATER):
        for value in (1, {"deeper": 1}):
            with open_dict(node):
                node.nonsense = value
            with pytest.raises(ValueError, match="nonsense"):
                check_keys(command, config)
            with open_dict(node):
                del node["nonsense"]
    check_keys(command, config)


def refusal_of(command: str, overrides: list[str]) -> str:
    """The sentence with which a command line of a single job is refused."""
    with hydra_outside():
        try:
            config = compose(command, overrides, return_hydra_config=True)
        except Exception as error:
            return refusal(error, command, overrides)
        begun = Command(command)
        with pytest.raises((ValueError, OmegaConfBaseException)) as raised:
            begun.check(begun.job(config, config.hydra))
    return error_text(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "group", "chosen"),
    [("phantom_detection", "detector", "feature_squeezing"), ("phantom_maps", "explainer", "effect_map_combined")],
)
def test_a_job_has_nothing_of_the_components_that_are_not_chosen_and_says_so(experiment, group, chosen, caplog):
    register_resolvers()
    overrides = [f"experiment={experiment}", f"{group}=[{chosen}]", "detection.adaptive.detectors=[]"]
    overrides += [f"detection.reference={chosen}"] if group == "detector" else []
    with hydra_outside():
        config = composed(*overrides, hydra=True)
        job = Command("evaluate").job(config, config.hydra).settings
    assert len(config[group]) > 1
    components = [name for name, node in config[group].items() if "_target_" in node and name != chosen]
    assert all(f"{group}.{name}" in caplog.text for name in components)
    assert list(getattr(job, group)) == [chosen]
    assert job.record()[group] == {chosen: OmegaConf.to_container(config[group][chosen], resolve=True)}


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("feature_squeezing", "detector.feature_squeezing.squeezers.bits.bits=3"),
        ("feature_squeezin", "++detector.feature_squeezin.bits=[3]"),
        ("margn", "++detector={margn: {x: 3}}"),
        ("beyond", "+transform@detector.beyond.intervention.transforms.jpeg=jpeg"),
    ],
)
def test_what_the_command_line_sets_of_a_component_that_is_not_chosen_stays(name, override):
    overrides = ["experiment=phantom_detection", override, "detector=[entropy]"]
    with hydra_outside():
        config = composed(*overrides, hydra=True)
        assert drop_unselected("evaluate", config, overrides).detector[name] == config.detector[name]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["++evaluation.image=3"], "evaluation has no key 'image'. Did you mean images"),
        (["epochs=3"], "Did you mean training.classifier.epochs or training.autoencoder.epochs?"),
        (["+batch_size=3"], "or evaluation.batch_size?"),
        (["+model@other=small_cnn"], "the configuration has no key 'other'"),
        (["++evaluation.images.first=3"], "evaluation.images: Input should be a valid integer, got keys: first."),
        (["++evaluation=3"], "evaluation must have keys (split, images, "),
        (["++model._target_=dovision.nowhere"], "model._target_ must be a class or function, got dovision.nowhere: "),
        (["++detector={entropy: {x: 3}}"], "detector.entropy has no _target_, so that nothing reads it."),
        (["explainer=[grad_cam]", "++explainer.edge_map.sigma=3"], "remove it: '~explainer.edge_map'"),
        (["~model.shape"], "model.shape must be given, got nothing."),
        (["attack=[none,random_sign]"], "attack takes one name, got a list. For a job with each of them: -m attack="),
        (["attack=[fgsm,pgd]"], "attack takes one name, got a list. For a job with each of them: -m attack="),
        (["attack=null"], "attack takes a name, got null. It has: apgd, "),
        (["logger.wandb.project=mine"], "logger.wandb is not chosen. Choose it by its group, beside others: logger=[."),
        (["+logger.wandb.project=mine"], "so that nothing reads it. Choose it by its group (logger=[...,wandb])"),
        (["+seed=3"], "seed has a value already. Write seed=..., without +."),
        (["+attack=fgsm"], "attack has a value already."),
        (["fill@intervention.fil=blur"], "Did you mean fill@explanation.fill or fill@intervention.fill?"),
        (["fil@intervention.fill=blur"], "there is no group 'fil'. Did you mean fill?"),
        (["attack=fgsm,pgd"], "several values (attack=fgsm,pgd) make a sweep, which needs -m."),
        (["seed=${sed}"], "seed: Interpolation key 'sed' not found."),
        (["dataset.shape.x=1"], "dataset.shape takes a value, got a key below it: x."),
        (["attack=[a"], "the command line cannot be read at 'attack=[a': no viable alternative at input"),
        (["=3"], "the configuration has no key ''."),
        (["~seeds"], "seeds cannot be removed, since it is not there."),
        (["~attack@other"], "attack@other cannot be removed, since it is not chosen."),
        (["attack=fgsm,pgd", "attack.epss=3"], "attack.epss cannot be set before attack=fgsm,pgd is split into jobs."),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_is_wrong_with_a_command_line_is_said_in_a_sentence(overrides, message):
    sentence = refusal_of("evaluate", ["dataset=digits", *overrides])
    assert message in sentence
    assert len(sentence.splitlines()) == 1


@pytest.fixture
def mine(tmp_path):
    """A folder of configuration files of the user's, to which experiments are added by name and text."""

    def add(**texts: str) -> str:
        folder = tmp_path / "conf" / "experiment"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
        return str(folder.parent)

    return add


@pytest.fixture
def refused(tmp_path, run_command, capsys):
    """The lines, as one, of a command that is refused and has written nothing."""

    def run(command: str, *words: str) -> str:
        root = [f"output_root={tmp_path}/out"] if command in ("evaluate", "train") else []
        assert run_command(getattr(hydra_main, command), *words, *root) == 1
        line = " ".join(capsys.readouterr().err.splitlines())
        assert not (tmp_path / "out").exists()
        return line.removeprefix(f"dovision-{command}: ")

    return run


@pytest.fixture
def local(mine):
    """A folder of the user's with settings of the machine, an experiment and a debug configuration, by their texts."""

    def add(text: str, experiment: str = "", debug: str = "") -> str:
        folder = Path(mine(mine=experiment))
        for group, content in (("local", text), ("debug", debug)):
            (folder / group).mkdir()
            name = "default" if group == "local" else "mine"
            (folder / group / f"{name}.yaml").write_text(f"# @package _global_\n{content}\n")
        return str(folder)

    return add


def threads(folder: str, *words: str) -> int | None:
    """Of a composed job, whose files lie in a folder of the user's."""
    return composed(f"hydra.searchpath=[{folder}]", *words).threads


def test_settings_of_the_machine_win_over_an_experiment_and_lose_against_debug_and_the_command_line(local):
    folder = local("threads: 2", "threads: 1", "threads: 3")
    assert threads(folder) == 2
    assert threads(folder, "experiment=mine") == 2
    assert threads(folder, "debug=mine") == 3
    assert threads(folder, "debug=mine", "threads=4") == 4
    assert threads(folder, "~local") is None


def test_a_configuration_file_that_is_no_yaml_is_refused_with_its_line(mine, refused):
    folder = mine(mine="note: {a: 1\nname: b")
    line = refused("evaluate", "--config-dir", folder, "dry_run=true", "experiment=mine")
    assert line.startswith(f"{folder}/experiment/mine.yaml must be YAML, got at line 3: ")
    assert "expected ',' or '}'" in line


@pytest.mark.parametrize("given", [["experiment=mine"], ["experiment=sweep", "hydra.mode=RUN"]])
def test_parameters_of_a_sweep_are_refused_in_a_single_job(mine, refused, given):
    sweeper = "sweeper: {params: {attack: 'pgd,pdg'}}"
    folder = mine(mine=f"hydra: {{{sweeper}}}", sweep=f"hydra: {{{sweeper}, mode: MULTIRUN}}")
    line = refused("evaluate", "--config-dir", folder, "dry_run=true", *given)
    assert line.startswith("hydra.sweeper.params needs a sweep, got a single job and ")
    assert line.endswith("Add -m, or write hydra.mode: MULTIRUN beside it.")


@pytest.mark.parametrize(
    ("override", "sweep"), [("hydra.sweeper.params={attack:pdg}", []), ("+hydra.sweeper.params.attack=pdg", ["-m"])]
)
def test_parameters_of_a_sweep_are_refused_on_the_command_line_with_their_remedy(refused, override, sweep):
    line = refused("evaluate", *sweep, "dry_run=true", override)
    assert line.startswith(f"hydra.sweeper.params must be set in a configuration file, got {override}. ")
    assert line.endswith("sweep by -m and values with commas: -m attack=pgd,fgsm.")
