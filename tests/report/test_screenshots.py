"""The program that takes pictures of pages: what it runs can be run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from programs import program

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(scope="module")
def screenshots():
    return program("checks/screenshots.py")


def test_the_films_of_fourteen_labels_are_read(screenshots, tmp_path):
    given = screenshots.films(tmp_path / "films")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("evaluate", overrides=[*screenshots.RUNS["labels"], *given])
        dataset = instantiate(composed.dataset, _convert_="all")
    assert dataset.task.classes == screenshots.LABELS
    assert dataset.task.multilabel
    assert len(dataset.order("test")) == 25


def test_a_run_that_has_failed_is_made_again(screenshots, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(screenshots, "command", lambda module, *words: asked.append(module))
    (tmp_path / "demo" / "1a").mkdir(parents=True)
    (tmp_path / "demo" / "1a" / "run.json").touch()
    screenshots.drawn("demo", tmp_path)
    assert asked == ["evaluate", "report"]
    (tmp_path / "demo" / "1a" / "summary.json").touch()
    screenshots.drawn("demo", tmp_path)
    assert asked[2:] == ["report"]
