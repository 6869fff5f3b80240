"""What the pages of docs/extend show is run: each example by itself, and all parts together by the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dovision.store.run_record import read_sweep

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "extend").glob("[a-z]*.md"))
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml)|in a notebook)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the pages show, where the pages say that they lie."""
    root = tmp_path_factory.mktemp("docs")
    for page in PAGES:
        for name, code in BLOCK.findall(page.read_text()):
            if name != "in a notebook":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(code)
    return root


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_runs(page, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    blocks = dict(BLOCK.findall(page.read_text()))
    assert len(blocks) == 3
    exec(blocks["in a notebook"], {})


@pytest.mark.slow
def test_all_parts_of_the_pages_work_together_in_one_command(folder, monkeypatch, tmp_path):
    from dovision.cli.evaluate import main

    arguments = ["dataset=bars", "model=tiny", "intervention=stripes", "attack=darken", "explainer=[input_gradient]"]
    arguments += ["detector=[roughness]", "+attack@detection.worlds.darken=darken", "detection.val_images=20"]
    arguments += ["training.classifier.epochs=2", "evaluation.images=12", f"output_root={tmp_path}"]
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["dovision-evaluate", "--config-dir", str(folder / "conf"), *arguments])
    main()
    (run,) = read_sweep(tmp_path / "evaluate")
    assert run.summary["arms"]["eps=8/255"]["images"] == 12
    assert {row["explainer"] for row in run.summary["maps"]} == {"input_gradient"}
    assert {row["detector"] for row in run.summary["detection"]} == {"roughness"}
