"""A command on a terminal, as its user sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from pseudo_terminal import terminal
from waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]
SMALL = ("dataset=digits", "training.classifier.epochs=1", "training.autoencoder.epochs=1", "intervention.rows=2")


def process_arguments(root, *overrides, command="evaluate", **variables):
    """Those of Popen for a command as one types it in a terminal."""
    words = [word for word in SMALL if command == "evaluate" or not word.startswith("intervention")]
    variables = {**os.environ, "TERM": "xterm-256color", **variables}
    for name in ("COLUMNS", "LINES", "JPY_PARENT_PID"):
        variables.pop(name, None)
    args = [sys.executable, "-m", f"dovision.jobs.{command}", *words, f"output_root={root}", *overrides]
    return {"args": args, "env": variables}


@contextmanager
def started(root, *overrides, **more):
    """A command, dovision-evaluate unless `command` is another, on a pseudo terminal, and that terminal."""
    arguments = process_arguments(root, *overrides, **more)
    with terminal(24, 80) as end:
        process = subprocess.Popen(**arguments, stdout=end.stream, stderr=end.stream)
        try:
            yield process, end
        finally:
            process.kill()
            process.wait()


def wait(process, end):
    while process.poll() is None:
        end.read()
        time.sleep(0.02)
    return process.returncode


def test_bars_stand_below_the_log_and_are_gone_when_the_run_ends(copy):
    with started(copy, "evaluation.images=400", "attack=pgd") as (process, end):
        end.wait_for("\neffects      ━")
        wait_for(lambda: len([line for line in end.screen().text() if "━" in line]) == 2)
        rows = [line for line in end.screen().text() if line]
        assert re.match(r"job, effects ━.* 2/4 steps in 0:", rows[-2])
        assert any("] found the fitted classifier" in line for line in rows[:-2])
        assert wait(process, end) == 0
        screen = end.screen()
        assert screen.cursor
        assert not any("━" in line for line in screen.text())
        lines = [line for line in screen.text() if line]
        assert any(line.startswith("next: dovision-report sweep=") for line in lines)
        assert "accuracy" in end.received


def test_ctrl_c_leaves_a_clean_terminal_and_says_how_to_go_on(copy):
    with started(copy, "evaluation.images=400", "attack=pgd", "attack.steps=200") as (process, end):
        end.wait_for("\neffects      ━")
        process.send_signal(signal.SIGINT)
        assert wait(process, end) == 130
        screen = end.screen()
        assert screen.cursor
        assert not any("━" in line for line in screen.text())
        received = end.received.replace("\r\n", "")
        assert "stopped by SIGINT; the same command resumes: " in received
        assert received.count("SIGINT") == 1
        assert "Traceback" not in received


def test_ctrl_c_in_a_training_leaves_one_line(tmp_path):
    with started(tmp_path, "training.classifier.epochs=100", command="train") as (process, end):
        end.wait_for("fit, epoch 3/100")
        process.send_signal(signal.SIGINT)
        assert wait(process, end) == 130
        lines = [line for line in end.screen().text() if line]
        last = r"dovision-train: interrupted: stopped by SIGINT in epoch (\d+) of 100; the same command resumes$"
        epoch = int(re.search(last, "".join(lines[-2:]))[1])  # of 80 columns
        assert epoch >= 3
        assert f"] epoch {epoch - 1} of 100: " in "".join(lines)
