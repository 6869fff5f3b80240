"""Keys that are set on a command line, and that no job of it uses, are named before the first job starts."""

import functools
import logging

import pytest
from omegaconf import OmegaConf

from dovision.config.composition import hydra_outside
from dovision.identity.relevance import register_resolvers
from dovision.jobs.command import Command, unused, warn_of_unused
from made_config import composed, read

CODE = ["intervention=activation"]
READS_CODE = ["detector=effect_profile", "intervention@detector.effect_profile.interventions.grid=activation"]
ADAPTIVE = ["detector=[entropy]", "detection.adaptive.detectors=[entropy]"]
CHECKPOINT = "checkpoint=weights.ckpt"
# by section: overrides of jobs that leave it unused, and of jobs that use it
SECTIONS: dict[str, tuple[list[list[str]], list[list[str]]]] = {
    "autoencoder": ([[]], [CODE, READS_CODE]),
    "training.autoencoder": ([[]], [CODE]),
    "training": ([], [[], [CHECKPOINT, "training=none"], [CHECKPOINT, *CODE]]),
    "training.classifier": ([[CHECKPOINT]], [[]]),
    "augmentation": ([[CHECKPOINT]], [[]]),
    "model": ([[CHECKPOINT]], [[], [CHECKPOINT, "model._target_=collections.Counter"]]),
    "trust_checkpoint": ([[]], [[CHECKPOINT]]),
    "explanation": ([[]], [["explainer=[random_map]"]]),
    "detection": ([[]], [["detector=[entropy]"]]),
    "detection.adaptive": ([[], ["detector=[entropy]"]], [ADAPTIVE]),
}
register_resolvers()


@functools.cache
def settings_of(*overrides: str):
    return read(*overrides, "+attack@detection.attacks.pgd=pgd")  # which detectors need


def unused_of(overrides, asked):
    return unused(settings_of(*overrides), asked)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_key_is_unused_in_those_jobs_alone_that_lack_its_consumer(section):
    config = composed()
    node = OmegaConf.select(config, section)
    inside = [f"{section}.{key}" for key in node] if OmegaConf.is_dict(node) else [section]
    keys = [key for key in inside if key not in {*SECTIONS, "detection.adaptive.detectors"} - {section}]
    without, having = SECTIONS[section]
    for overrides in without:
        assert list(unused_of(overrides, [f"{key}=x" for key in keys])) == keys
    for overrides in having:
        assert unused_of(overrides, [f"+{key}=x" for key in keys]) == {}


def test_the_places_that_lack_a_consumer_are_named_and_not_the_key_that_leaves_it_out():
    parts = ["+attack@detection.attacks.foo=pgd", "fill@explanation.fill=blur", "attack=pgd"]
    assert unused_of(parts, parts) == {
        "attack@detection.attacks.foo": "detector=[NAME,...]",
        "fill@explanation.fill": "explainer=[NAME,...]",
    }
    keys = ["detector=[max_softmax]", "detection.adaptive.detectors=[]", "detection.adaptive.steps=3"]
    assert unused_of(keys, keys) == {"detection.adaptive.steps": "detection.adaptive.detectors=[NAME,...]"}


@pytest.mark.parametrize(
    ("command", "consumer"), [("train", "autoencoder=conv_1x1"), ("evaluate", "intervention=activation")]
)
def test_a_sweep_names_what_none_of_its_jobs_uses(command, consumer, caplog):
    always = "trust_checkpoint has no effect without checkpoint=FILE"
    lacking = f"{always}; training.autoencoder.epochs has no effect without an autoencoder"
    jobs = [["trust_checkpoint=true", "training.autoencoder.epochs=3", *more] for more in ([], [consumer])]
    for chosen, message in ((jobs, always), (jobs[1:], always), (jobs[:1], lacking)):
        caplog.clear()
        with hydra_outside():
            configs = [composed(*overrides, command=command, hydra=True) for overrides in chosen]
            warn_of_unused([Command(command).job(config, config.hydra) for config in configs])
        (record,) = [record for record in caplog.records if record.name.startswith("dovision")]
        assert record.levelno == logging.WARNING
        assert record.message.startswith(message)
        assert record.message.count("no effect") == message.count("no effect")
