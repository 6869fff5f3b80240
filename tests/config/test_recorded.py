"""What the environment says may be a secret, and no file of a run, no page and no dashboard has it."""

import json
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from dovision.config.sources import recorded, without_values
from dovision.jobs import evaluate
from dovision.jobs.hydra_main import report

SECRET = "hunter2-of-the-environment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${oc.env:SECRET}", "${oc.env:SECRET}"),
        ("key-${oc.env:SECRET}/x", "key-${oc.env:SECRET}/x"),
        ("${plain}", "${oc.env:SECRET}"),
        ("a-${nested.deep}", "a-b-${oc.env:SECRET}"),
        ("${oc.env:NOT_SET,3}", "${oc.env:NOT_SET,3}"),
        ("${oc.env:SECRET,null}", "${oc.env:SECRET,null}"),
        ("${oc.decode:${oc.env:SECRET}}", "${oc.env:SECRET}"),
        ("${oc.select:plain}", "${oc.env:SECRET}"),
        ("${oc.env:${which}}", "${oc.env:SECRET}"),
        ("${ oc.env:SECRET }", "${oc.env:SECRET}"),
        ("${oc.env: 'SECRET'}", "${oc.env:SECRET}"),
        ("${oc.env:NOT_SET,${plain}}", "${oc.env:NOT_SET,${oc.env:SECRET}}"),
        ("${nested}", {"deep": "b-${oc.env:SECRET}"}),
        ("${oc.dict.values:nested}", ["b-${oc.env:SECRET}"]),
        ("${oc.create:{a:${oc.env:SECRET}}}", {"a": "${oc.env:SECRET}"}),
        ("${oc.decode:'[\"${oc.env:SECRET}\"]'}", ["${oc.env:SECRET}"]),
        ("${number}", 3),
        ("${oc.decode:'[1,2]'}", [1, 2]),
    ],
)
def test_the_environment_is_written_as_it_was_asked_for(monkeypatch, text, expected):
    monkeypatch.setenv("SECRET", SECRET)
    config = OmegaConf.create(
        {
            "value": text,
            "list": [text, {"in": [text]}],
            "plain": "${oc.env:SECRET}",
            "nested": {"deep": "b-${plain}"},
            "which": "SECRET",
            "number": 3,
        }
    )
    found = recorded(config)
    assert (found["value"], found["list"]) == (expected, [expected, {"in": [expected]}])
    assert SECRET not in json.dumps(found)
    assert config.plain == SECRET  # and is read again after that


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hunter2-of", "no ${oc.env:SECRET}: got ${oc.env:SECRET}/x"),
        ("hunt", "no hunt: got hunt/x"),
        ("", "no : got /x"),
    ],
)
def test_a_message_has_the_name_in_place_of_a_value_that_is_no_short_word(monkeypatch, value, expected):
    monkeypatch.setenv("SECRET", value)
    record = {"a": [{"b": "${oc.env:NOT_SET,${oc.env:SECRET}}"}], "c": 3}
    assert without_values(f"no {value}: got {value}/x", record) == expected


def holding(folder: Path, secret: str) -> list[str]:
    """The files that hold the secret, and the names that do."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if secret.encode() in path.read_bytes() or secret in path.name]


def test_no_file_of_a_sweep_its_page_or_its_dashboard_holds_a_secret(
    tmp_path, dovision_evaluate, run_command, monkeypatch, offline_run, svg_only
):
    """A number, a text inside another, and a size of the grid come from the environment."""
    monkeypatch.setenv("SECRET", "0.0314159265358")
    monkeypatch.setenv("ROWS", "3")
    own = ("detection.adaptive.eps='${oc.env:SECRET}'", "note='of-${oc.env:SECRET}'")
    own += ("intervention.columns='${oc.decode:${oc.env:ROWS}}'", "tags=['${oc.env:SECRET}','a-${ oc.env:SECRET }']")
    own += ("logger=[csv,wandb,tensorboard]",)
    assert dovision_evaluate("seed=0,1", *own, f"output_root={tmp_path}", "training.classifier.epochs=0", "-m") == 0
    assert run_command(report, f"sweep={tmp_path / 'evaluate'}") == 0
    records = sorted((tmp_path / "evaluate").glob("*/run.json"))
    assert len(records) == 2
    for record in records:
        facts = json.loads(record.read_text())
        assert facts["tags"] == ["${oc.env:SECRET}", "a-${oc.env:SECRET}"]
        assert "note='of-${oc.env:SECRET}'" in facts["overrides"]
        config = yaml.safe_load((record.parent / ".hydra" / "config.yaml").read_text())
        assert config["note"] == "of-${oc.env:SECRET}"
        assert config["intervention"]["columns"] == "${oc.env:ROWS}"
    assert holding(tmp_path, "0.0314159265358") == []
    sent = json.dumps(offline_run(records[0].parent))
    assert "0.0314159265358" not in sent
    assert "of-${oc.env:SECRET}" in sent


def test_no_file_of_a_failed_job_holds_a_secret(dovision_evaluate, copy, monkeypatch):
    """An error that quotes it is recorded with its traceback, and logged."""
    monkeypatch.setenv("SECRET", SECRET)

    def refuse(folder):
        raise ValueError(f"note must be short, got {SECRET!r}.")

    monkeypatch.setattr(evaluate, "write_summary", refuse)
    assert dovision_evaluate("note='${oc.env:SECRET}'", f"output_root={copy}") == 1
    (record,) = (copy / "evaluate").glob("*/run.json")
    assert json.loads(record.read_text())["exception"]["message"] == "note must be short, got '${oc.env:SECRET}'."
    assert "got '${oc.env:SECRET}'" in record.with_name("run.log").read_text()
    assert holding(copy, SECRET) == []
