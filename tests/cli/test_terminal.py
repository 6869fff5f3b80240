"""A command on a terminal, as its user sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pseudo_terminal import terminal

pytestmark = [pytest.mark.slow, pytest.mark.long]
SMALL = ("dataset=digits", "training.classifier.epochs=1", "training.autoencoder.epochs=1", "intervention.rows=2")


@contextmanager
def started(root, *overrides, **variables):
    """dovision-evaluate on a pseudo terminal, and that terminal."""
    command = [sys.executable, "-m", "dovision.cli.evaluate", *SMALL, f"output_root={root}", *overrides]
    variables = {**os.environ, "TERM": "xterm-256color", **variables}
    for name in ("COLUMNS", "LINES", "JPY_PARENT_PID"):
        variables.pop(name, None)
    with terminal(24, 80) as end:
        process = subprocess.Popen(command, stdout=end.stream, stderr=end.stream, env=variables)
        try:
            yield process, end
        finally:
            process.kill()
            process.wait()


def wait(process, end):
    while process.poll() is None:
        end.screen()  # so that the process can write on
    return process.returncode


def test_bars_stand_below_the_log_and_are_gone_when_the_run_ends(copy):
    with started(copy, "evaluation.images=128", "attack=pgd") as (process, end):
        end.wait_for("effects  ")
        text = end.screen().text()
        assert text[-2].startswith("job      ━")
        assert "step 3/4: effects" in text[-2]
        assert not any("━" in line for line in text[:-2])
        assert any("] found the fitted classifier" in line for line in text[:-2])
        assert wait(process, end) == 0
        screen = end.screen()
        assert screen.bottom == 23
        assert not any("━" in line for line in screen.text())
        lines = [line for line in screen.text() if line]
        assert any(line.startswith("next: dovision-report sweep=") for line in lines)
        assert any("accuracy" in line for line in lines)


def test_ctrl_c_leaves_a_clean_terminal_and_says_how_to_go_on(copy):
    with started(copy, "evaluation.images=400", "attack=pgd", "attack.steps=200") as (process, end):
        end.wait_for("effects  ")
        process.send_signal(signal.SIGINT)
        assert wait(process, end) == 130
        screen = end.screen()
        assert screen.bottom == 23
        assert not any("━" in line for line in screen.text())
        assert "stopped by SIGINT; the same command goes on from here" in end.received.replace("\r\n", "")
        assert "Traceback" not in end.received


def test_a_dumb_terminal_receives_no_control_characters(copy):
    with started(copy, "evaluation.images=12", TERM="dumb") as (process, end):
        assert wait(process, end) == 0
        end.screen()
        assert "\x1b" not in end.received
        assert "next: dovision-report" in end.received
