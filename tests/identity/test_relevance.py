from __future__ import annotations

from omegaconf import OmegaConf

from dovision.identity.relevance import content_hash, run_hash

CONFIG = {
    "seed": 0,
    "output_root": "outputs",
    "dataset": {"root": "data", "shape": [1, 28, 28]},
    "evaluation": {"batch_size": 64, "chunk": "auto", "checkpoint_every": 64, "images": None},
    "hydra": {"job": {"num": 3}},
}


def hash_with(**changes):
    return run_hash(OmegaConf.merge(OmegaConf.create(CONFIG), OmegaConf.create(changes)))


def test_where_and_how_fast_a_run_is_does_not_change_its_name():
    plumbing = {"output_root": "/elsewhere", "dataset": {"root": "/data"}, "evaluation": {"checkpoint_every": 1}}
    assert hash_with(**plumbing, hydra={"job": {"num": 4}}) == hash_with()


def test_what_can_change_the_numbers_changes_the_name():
    evaluation = ({"images": 10}, {"batch_size": 32}, {"chunk": 8})
    changes = ({"seed": 1}, {"dataset": {"shape": [1, 28, 32]}}, *({"evaluation": change} for change in evaluation))
    assert len({hash_with(), *(hash_with(**change) for change in changes)}) == 1 + len(changes)


def test_the_order_of_keys_does_not_matter():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
