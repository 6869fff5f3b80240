from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_notebook_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["found"].map.shape == (1, 224, 224)


def test_every_part_is_in_the_table_of_parts():
    groups = ("dataset", "model", "autoencoder", "intervention", "fill", "attack", "loss", "logger")
    groups += ("explainer", "detector")
    parts = {path.stem for group in groups for path in (ROOT / "conf" / group).glob("*.yaml")}
    table = README[README.index("## Parts") : README.index("## What a run leaves")]
    assert {part for part in parts if part not in table} == set()
