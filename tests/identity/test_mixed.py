"""Remarks on runs that should share an origin."""

import re
from dataclasses import replace

import pytest

from dovision.identity.differences import mixed
from dovision.results.run_record import Run
from dovision.results.sweep_summary import closing

ONE = {
    "measurement": 1,
    "torch": "2.13.0",
    "overrides": ["dataset=digits", "+model.width=2", "attack.run=outputs/a"],
    "dataset_fingerprint": "0123456789abcdef",
    "checkpoints": {"classifier": "aaaa", "autoencoder": "bbbb"},
    "checkpoint_files": {"classifier": "a.ckpt", "autoencoder": "b.ckpt"},
    "components": {"torchvision": "0.28.0"},
    "files": {"attack.run": "abcd"},
}


def runs(**changes):
    return {"seed=0": ONE, "seed=1": {**ONE, **changes}}


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"measurement": 2}, "differ in the measurement, .*(1: seed=0; 2: seed=1)"),
        ({"torch": "2.14.0"}, "differ in the torch, .*2.13.0: seed=0; 2.14.0: seed=1"),
        ({"dataset_fingerprint": "f" * 16}, "differ in the data, .*0123456789ab: seed=0; f{12}: seed=1"),
        ({"checkpoints": {"classifier": "x", "autoencoder": "bbbb"}}, "weights of the classifier, .*aaaa: seed=0; x"),
        ({"checkpoints": {"classifier": "aaaa", "autoencoder": "x"}}, "weights of the autoencoder, .*bbbb: seed=0; x"),
        ({"components": {"torchvision": "1.0"}}, "code of torchvision, .*0.28.0: seed=0; 1.0: seed=1"),
        ({"files": {"attack.run": "ffff"}}, "content of attack.run, .*abcd: seed=0; ffff: seed=1"),
    ],
)
def test_whatever_is_mixed_is_named_with_the_runs(changes, pattern):
    (sentence,) = mixed(runs(**changes))
    assert re.search(pattern, sentence)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"git_commit": "another", "device": "another", "wall_seconds": 3},
        {"overrides": ["dataset=mnist"], "dataset_fingerprint": "f" * 16, "checkpoints": {"classifier": "x"}},
        {"overrides": [*ONE["overrides"][:2], "attack.run=outputs/b"], "files": {"attack.run": "ffff"}},
        {"overrides": [*ONE["overrides"], "seed=1"], "checkpoints": {"classifier": "x", "autoencoder": "y"}},
    ],
)
def test_runs_that_are_configured_otherwise_may_differ(changes):
    assert mixed(runs(**changes)) == []


def test_a_sweep_says_so_at_its_end(tmp_path):
    both = enumerate(runs().values())
    jobs = [Run(tmp_path, str(n), "completed", facts, {}, {}) for n, facts in both]
    other = replace(jobs[1], record={**ONE, "dataset_fingerprint": "f" * 16})
    failed = replace(other, state="failed")
    assert "differ" not in closing(jobs)
    assert "differ" not in closing([jobs[0], failed])
    assert "These runs differ in the data" in closing([jobs[0], other])
