"""The command dovision-view: what it opens, and what it refuses in a sentence."""

import re

import pytest

from dovision.jobs import hydra_main, view

SMALL = ("dataset=digits", "model=small_cnn", "training.classifier.epochs=1", "training.autoencoder.epochs=0")


@pytest.fixture
def look(run_command, monkeypatch, tmp_path):
    """Runs the command with `during` in place of its server; exit code, and what the server was given."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra view")

    def run(*words, during=lambda session: None):
        given = {}

        def serve(self, sockets):
            given["answer"] = given["worker"].ask(lambda: during(given["session"]))

        def application(session, worker, token, hosts):
            given.update(session=session, worker=worker, token=token, hosts=hosts)

        monkeypatch.setattr(view, "application", application)
        monkeypatch.setattr(uvicorn.Server, "run", serve)
        return run_command(hydra_main.view, "port=0", *words), given

    return run


def test_a_photograph_is_opened_at_an_address_of_this_machine_alone(look, tmp_path, capsys):
    code, given = look(f"output_root={tmp_path}", during=lambda session: session.choices())
    assert code == 0
    choices = given["answer"]
    found = choices["network"], choices["shape"], len(choices["classes"])
    assert found == ("efficientnet_lite0", [3, 224, 224], 1000)
    assert [sample["name"] for sample in choices["samples"]] == ["flower.jpg"]
    assert given["hosts"] == view.LOOPBACK
    assert re.fullmatch(rf"http://127.0.0.1:\d+/{given['token']}/  .*\n", capsys.readouterr().out)
    assert len(given["token"]) == 32


def test_latents_of_a_data_set_with_an_autoencoder_move_the_numbers(look, copy):
    unit = {"site": "code", "kind": "channel", "number": 1, "value": {"name": "mean"}}

    def during(session):
        assert next(iter(session.sites())) == "code"
        asked = {"image": session.open_sample(0)["image"], "unit": unit}
        rows = session.effect(asked)["rows"]
        return rows, session.texts(asked)["command"]

    code, given = look(*SMALL, "autoencoder=conv_1x1", f"output_root={copy}", during=during)
    assert code == 0
    rows, command = given["answer"]
    assert any(row["effect"] != 0 for row in rows)
    assert "autoencoder=conv_1x1 intervention=activation intervention.site=code" in command


def test_a_run_is_opened_without_its_network_being_composed(look, fitted_run):
    other = ("model=timm_model", "model.name=no_such")
    code, given = look(f"run={fitted_run}", *other, during=lambda session: session.choices())
    assert (code, given["answer"]["network"], given["answer"]["shape"]) == (0, fitted_run.name, [1, 32, 32])


def test_an_address_that_other_machines_reach_is_warned_of(look, fitted_run, capsys):
    code, given = look(f"run={fitted_run}", "host=0.0.0.0")
    assert (code, given["hosts"]) == (0, ("*",))
    assert "host=0.0.0.0 lets other machines in, unencrypted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=nowhere"], "run must be a folder that dovision-evaluate wrote, got nowhere"),
        (["dataset.root=nowhere.jpg"], "nowhere.jpg"),
        (["split=tset"], "split: Input should be"),
        (["port=70000"], "port: Input should be"),
        (["model=torchvision_model"], "begins from random ones"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_line(look, capsys, words, message):
    code, _ = look(*words)
    assert code == 1
    text = capsys.readouterr().err
    assert "\ndovision-view: " in f"\n{text}"  # below what was logged
    assert message in text


def test_a_port_that_is_taken_is_named():
    with view.listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"host=127.0.0.1 port={port} cannot be listened to"):
            view.listening("127.0.0.1", port)
