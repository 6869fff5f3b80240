from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dovision.interfaces import Classifier
from dovision.types import Task

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


def test_a_row_takes_the_place_of_one_of_its_name(recorded, tmp_path):
    table = recorded.Table(tmp_path, ORIGIN)
    table.add(row(ratio=1.0))
    table.add(row(ratio=3.0))
    assert [found["ratio"] for found in table.rows] == [3.0]
    assert "| 3 |" in (tmp_path / "table.md").read_text()
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("part", ORIGIN)
def test_rows_of_another_origin_are_put_aside(recorded, tmp_path, part):
    recorded.Table(tmp_path, ORIGIN).add(row())
    other = recorded.Table(tmp_path, {**ORIGIN, part: "other"})
    assert other.rows == []
    (aside,) = tmp_path.glob("table-*.json")
    assert json.loads(aside.read_text())["rows"] == [row()]


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": 1, "origin": {}}', '{"rows": []}'])
def test_what_is_no_table_is_refused(recorded, tmp_path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(ValueError, match="must be a table of the benchmark"):
        recorded.Table(tmp_path, ORIGIN)
    assert (tmp_path / "table.json").read_text() == text


def test_a_ratio_that_fell_is_named(recorded):
    before = [row(ratio=2.0), row("captum", 3.0), row("ONNX Runtime", None)]
    now = [row(ratio=1.6), row("captum", 2.6), row("ONNX Runtime", 1.0), row("OpenVINO", 0.1)]
    assert recorded.slower(now, before) == ["resnet18, 7 x 7, 1 images, against plain loop, ratio: 1.60, was 2.00."]


def test_operations_saved_that_fell_are_named(recorded):
    before, now = [row() | {"operations": 3.0}], [row() | {"operations": 1.0}]
    assert recorded.slower(now, before) == [
        "resnet18, 7 x 7, 1 images, against plain loop, operations: 1.00, was 3.00."
    ]


def test_a_gate_without_a_row_of_both_tables_is_refused(recorded):
    with pytest.raises(ValueError, match="the gate needs rows that are in both tables"):
        recorded.slower([row("captum")], [row("plain loop")])


def test_a_gate_of_another_machine_is_refused(peers, tmp_path):
    table = importlib.import_module("table")
    gate = tmp_path / "ratios.json"
    gate.write_text(json.dumps({"origin": ORIGIN, "rows": [row()]}))
    assert table.earlier_rows(gate, "one") == [row()]
    with pytest.raises(SystemExit, match=r"of this machine \(another\), got one of one"):
        table.earlier_rows(gate, "another")


def test_the_chunk_of_a_peer_is_the_fastest_of_those_that_it_can_make(peers, monkeypatch):
    monkeypatch.setattr(peers, "seconds", lambda run: peers.Seconds(run(), run()))
    assert peers.best_chunk(lambda chunk: abs(chunk - 9.0)) == 8
    assert peers.best_chunk(float) == 4
    assert peers.best_chunk(float, least=8) == 8


@pytest.mark.parametrize("place", ["src/dovision/functional", "src/dovision/propagation", "benchmarks"])
def test_the_digest_is_of_the_content_of_the_code(recorded, tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    file = tmp_path / place / "a.py"
    file.write_text("one")
    one = recorded.code_digest(tmp_path)
    file.write_text("two")
    assert recorded.code_digest(tmp_path) != one
    file.write_text("one")
    assert recorded.code_digest(tmp_path) == one


@pytest.mark.parametrize("kind", ["linear", "without bias", "zeros", "convolution", "before another"])
def test_logits_of_every_kind_of_head_are_as_far_apart(peers, kind):
    torch.manual_seed(0)
    head = nn.Linear(8, 20, bias=kind != "without bias")
    if kind == "zeros":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    layers = [nn.Conv2d(3, 8, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head]
    if kind == "convolution":
        layers[2:] = [nn.Conv2d(8, 20, 1), nn.Flatten()]
    if kind == "before another":
        layers.append(Shortened(20))
    task = Task("multiclass", tuple(map(str, range(20))))
    classifier = Classifier(nn.Sequential(*layers), task, (0.5,) * 3, (0.5,) * 3).eval().requires_grad_(False)
    image = torch.rand(1, 3, 16, 16)
    peers.spread_logits(classifier, image)
    assert classifier(image).std() == pytest.approx(peers.SPREAD, rel=1e-4)


class Shortened(nn.Module):
    """Ends with the logits, but holds a layer of another size that is not used."""

    def __init__(self, classes):
        super().__init__()
        self.other = nn.Linear(classes, 3)

    def forward(self, logits):
        return logits
