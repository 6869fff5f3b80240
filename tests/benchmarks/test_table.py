from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("recorded", None)
    import recorded

    return recorded


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("peers")


def row(peer: str = "plain loop", ratio: float | None = 2.0) -> dict[str, object]:
    return {"what": "resnet18, 7 x 7", "images": 1, "threads": 1, "peer": peer, "ratio": ratio}


ORIGIN = {"machine": "one", "versions": "torch 2", "code": "abc"}


def test_rows_are_resumed_after_an_interruption(recorded, tmp_path):
    table = recorded.Table(tmp_path, ORIGIN)
    table.add(row())
    again = recorded.Table(tmp_path, ORIGIN)
    assert again.has(what="resnet18, 7 x 7", images=1, threads=1, peer="plain loop")
    assert not again.has(what="resnet18, 7 x 7", images=1, threads=2, peer="plain loop")


@pytest.mark.parametrize("part", ORIGIN)
def test_rows_of_another_origin_are_put_aside(recorded, tmp_path, part):
    recorded.Table(tmp_path, ORIGIN).add(row())
    other = recorded.Table(tmp_path, {**ORIGIN, part: "other"})
    assert other.rows == []
    (aside,) = tmp_path.glob("table-*.json")
    assert json.loads(aside.read_text())["rows"] == [row()]


def test_a_ratio_that_fell_is_named(recorded):
    before = [row(ratio=2.0), row("captum", 3.0), row("ONNX Runtime", None)]
    now = [row(ratio=1.6), row("captum", 2.6), row("ONNX Runtime", 1.0), row("OpenVINO", 0.1)]
    assert recorded.slower(now, before) == ["resnet18, 7 x 7, 1 images, against plain loop, ratio: 1.60, was 2.00."]


def test_a_gate_of_another_machine_is_refused(peers, tmp_path):
    table = importlib.import_module("table")
    gate = tmp_path / "ratios.json"
    gate.write_text(json.dumps({"origin": ORIGIN, "rows": [row()]}))
    assert table.earlier_rows(gate, "one") == [row()]
    with pytest.raises(SystemExit, match=r"of this machine \(another\), got one of one"):
        table.earlier_rows(gate, "another")
