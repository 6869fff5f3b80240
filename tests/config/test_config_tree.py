"""The composed configuration is printed as a tree where a job asks for it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dovision.cli.train import main as train
from dovision.config.config_tree import config_tree


def printed(config, width: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(config_tree(config))
    return console.file.getvalue()


def test_each_key_is_a_branch_and_its_values_are_below_it():
    lines = printed({"seed": 3, "tags": ["[red]a"], "trainer": {"devices": 1, "limits": [1, 2]}, "detector": {}})
    assert [line.rstrip() for line in lines.splitlines()] == [
        "configuration",
        "├── seed: 3",
        "├── tags: ['[red]a']",
        "├── trainer",
        "│   └── devices: 1",
        "│       limits:",
        "│       - 1",
        "│       - 2",
        "└── detector: {}",
    ]


def test_no_value_is_cut_where_the_terminal_is_narrow():
    assert printed({"dataset": {"root": "x" * 100}}, width=40).count("x") == 100


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["single", "sweep"])
def test_a_job_prints_what_is_composed_but_no_secret(tmp_path, run_command, capsys, monkeypatch, sweep):
    monkeypatch.setenv("SECRET", "0.0314159")
    words = ["dataset=digits", "training.classifier.epochs=0", f"output_root={tmp_path}", "print_config=true"]
    assert run_command(train, *sweep, *words, "++training.classifier.optimizer.lr='${oc.decode:${oc.env:SECRET}}'") == 0
    out = capsys.readouterr().out
    assert "├── dataset" in out
    assert "lr: ${oc.env:SECRET}" in out
    assert "0.0314159" not in out
