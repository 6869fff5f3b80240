"""Every file operation of a command fails once, and once is the last before a kill: does the same command mend it?

python checks/faults/exhaustive.py                                 all points of all commands; hours on one core
python checks/faults/exhaustive.py --commands fit report           of some
python checks/faults/exhaustive.py --sample 200 --seed 1           so many, of each command, fault and kind

A point is a command, its N-th operation below the output root (open to write, write, fsync, rename, link, unlink,
mkdir, lock), for N = 1, 2, ... until the command passes untouched, and one of four faults:

    kill    kill -9 of all processes of the command after the operation
    torn    the same after half the bytes of a write
    EIO     the operation fails, and the command goes on as it will
    ENOSPC  the same

Then the same command is given once more. The point passes if that ends with exit code 0, all files are those of an
undisturbed command to the byte (but for temporary files and those that bear times; of a record its state and digests
of other files), nothing was completed twice, and neither has printed a traceback. A command that has met EIO or ENOSPC
must not end with exit code 0 if files lack.

Operations are seen by operations.c, which needs a C compiler: those of libraries count. A command of one process is
executed once: it is held before and after each operation, forked to let it fail in the new process, and given again on
a copy of what is there then, by a fork of a process that stands before its first look below the output root. In a
state that was mended before it is not given again: states are one if they differ in times, memory, errno and digests
of the record itself in records and logs, and in bytes of temporary files, which no command opens; both are counted.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import gc
import hashlib
import io
import itertools
import json
import logging
import math
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

HERE = Path(__file__).resolve().parent
KINDS = dict(o="open", w="write", s="fsync", r="rename", l="link", u="unlink", m="mkdir", k="lock")
HOLD, BEFORE, TORN, AFTER = -1, 1, 2, 3  # as in operations.c
UNDIVIDED = 255  # exit code of a process that has threads or takes a lock, and so is not forked
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
TIMED = ("run.log", "sweep_summary.*", "multirun.yaml", "metrics.csv")
UNLIKE = ("*.partial-*", "*lock", ".fingerprints.json")  # which may be there, or not
PARTIAL, LEFT = re.compile(r"partial-[0-9a-f]{8}"), "partial-left"  # in names, of a temporary file that was left
DIFFERING = re.compile(
    rb"\d+\.\d+(e-?\d+)?|\d{4}-\d\d-\d\d[T ][\d:.,+]+|\[Errno \d+\]|Input/output error|No space left on device|"
    rb"_mb\W+\d+|in \d+ s\b|\"digest\": \"[0-9a-f]{16}\""
)
PATIENCE = 600.0  # seconds for a command
SMALL = ("dataset=digits", "training.classifier.epochs=1", "threads=1", "intervention.rows=1", "intervention.columns=2")
SMALL += tuple(f"evaluation.{word}" for word in ("images=5", "batch_size=3", "checkpoint_every=3", "num_thumbnails=1"))
FIT = ("dataset=digits", "training.classifier.epochs=2", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2")


class Command(NamedTuple):
    """A console script with its arguments, given after others have prepared the output root."""

    script: str  # module of dovision.jobs, or "digests"
    arguments: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()  # arguments of dovision-evaluate
    removed: str = ""  # of what these have written
    workers: int = 1  # processes that give the command at once


COMMANDS = {
    "digests": Command("digests"),
    "fit": Command("train", FIT),
    "job": Command("evaluate", (*SMALL, "attack=fgsm", "attack.eps=0.1", "explainer=[edge_map]"), (SMALL,), "evaluate"),
    "sweep": Command("evaluate", (*SMALL, "intervention.rows=1,2,3", "-m"), (SMALL,), "evaluate", workers=2),
    "report": Command("report", ("sweep=ROOT/evaluate", "formats=[svg]"), (SMALL,)),
}


class Point(NamedTuple):
    command: str
    fault: str
    number: int
    kind: str


def main() -> int:
    """Print which points pass, and return 1 if one does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="points of all kinds in turn; all if left out")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no point is begun any more")
    parser.add_argument("--folder", type=Path, help="for what did not pass")
    options = parser.parse_args()
    if "FAULTS_LIBRARY" not in os.environ:
        return _preloaded()

    from dovision.io.progress import Display

    # a fork in the middle of a line of a log has new locks, which the rest of the line would release
    mock.patch.object(logging.Handler, "createLock", lambda handler: setattr(handler, "lock", None)).start()
    # a command that is held takes longer, and is to do the same operations
    mock.patch.object(Display, "silence", lambda display, silence=Display.silence, **_: silence(display)).start()
    mock.patch("dovision.identity.digests.SETTLED", -math.inf).start()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        harness = Harness(Path(folder), options.folder, options.commands)
        harness.end = time.monotonic() + 60 * options.minutes
        trials = [Trial(harness, name) for name in options.commands]
        points = [point for trial in trials for point in trial.points()]
        count = len(points)
        numbers = defaultdict[object, Iterator[int]](itertools.count)
        points = random.Random(options.seed).sample(points, count)
        points.sort(key=lambda point: next(numbers[point.command, point.fault, point.kind]))
        points = points[: options.sample]
        outcomes = {}
        for trial in trials:
            for point, wrong in trial.outcomes({point for point in points if point.command == trial.name}):
                outcomes[point] = wrong
                if wrong:
                    print(*point, wrong, flush=True)
    return report(outcomes, count, harness)


def report(outcomes: dict[Point, str], count: int, harness: Harness) -> int:
    """Print a row for each command and fault, with a column for each kind of operation; 1 if a point has not passed."""
    kinds = list(dict.fromkeys(KINDS.values()))
    cells: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (command, fault, _, kind), wrong in outcomes.items():
        for column in (kind, "all"):
            cells[command, fault].update({column: 1, f"{column} passed": int(not wrong)})
    print(f"{'command':10}{'fault':8}" + "".join(f"{kind:>10}" for kind in (*kinds, "all")))
    for (command, fault), row in cells.items():
        texts = [f"{row[f'{kind} passed']}/{row[kind]}" if row[kind] else "-" for kind in (*kinds, "all")]
        print(f"{command:10}{fault:8}" + "".join(f"{text:>10}" for text in texts))
    passed = sum(not wrong for wrong in outcomes.values())
    print(f"{passed:,} of {len(outcomes):,} points pass" + (f", of {count:,}" if count > len(outcomes) else ""))
    opened = harness.library.faults_opened()
    print(f"given again in {harness.states:,} states; temporary files of others that were opened: {opened}")
    return int(passed < len(outcomes))


def _preloaded() -> int:
    """Give this command again with operations.c between Python and the system."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "operations.so"
        flags = ["-O1", "-shared", "-fPIC", "-o", library, HERE / "operations.c", "-ldl", "-lpthread"]
        subprocess.run([os.environ.get("CC", "cc"), *flags], check=True)
        preloaded = {"LD_PRELOAD": str(library), "FAULTS_LIBRARY": str(library), "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, *sys.argv], env={**os.environ, **preloaded}).returncode


class Harness:
    """The folders of all trials, and commands as forks of this process, which has done each once and so is warm."""

    def __init__(self, folder: Path, wrong: Path | None, names: Sequence[str]) -> None:
        from dovision.jobs.hydra_main import evaluate, report, train

        self.scripts = {"evaluate": evaluate, "report": report, "train": train, "digests": _digests}
        self.root, self.log, self.folder, self.wrong = folder / "root", folder / "log", folder, wrong
        self.states = 0  # in which a command was given again
        self.end = math.inf  # when no point is begun any more
        self.library = ctypes.CDLL(os.environ["FAULTS_LIBRARY"])
        self.library.faults_kinds.restype = ctypes.c_char_p
        self._divide_here = ctypes.CFUNCTYPE(ctypes.c_int)(self._divide)
        self.library.faults_root(str(self.root).encode(), self._divide_here)
        self.held: Callable[[], None] = lambda: None  # is called whenever a process is held, and all stand still
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for name in ("job", *({"fit", "report"} & set(names))):
                self._run(COMMANDS[name].script, COMMANDS[name].arguments)
        shutil.rmtree(self.root)
        gc.collect()
        gc.freeze()

    def prepare(self, command: Command) -> socket.socket:
        """Let a process come to its first look below the output root; it is asked for forks by a socket."""
        here, there = socket.socketpair(type=socket.SOCK_SEQPACKET)

        @ctypes.CFUNCTYPE(None)
        def first() -> None:
            here.close()
            gc.collect()
            gc.freeze()
            while request := there.recv(64).split():
                processes = []
                for _ in range(int(request[0])):
                    processes.append(os.fork())
                    if not processes[-1]:
                        return self._begin(request[1].decode())
                there.send(json.dumps(processes).encode())
                codes = _codes(processes, math.inf if request[1] == b"-1" else PATIENCE)
                there.send(json.dumps(codes).encode())
            os._exit(0)

        self._fork(command.script, command.arguments, first)
        there.close()
        return here

    def give(self, command: socket.socket, workers: int, fault: int | None = None, at: int = 0) -> list[int]:
        """Exit codes of processes of a prepared command; None: without a look at its operations."""
        if fault is not None:
            self.library.faults_begin(fault, ctypes.c_long(at))
        command.send(f"{workers} {fault}".encode())
        processes = json.loads(command.recv(4096))
        while not select.select([command], [], [], 0.0005 if fault == HOLD else None)[0]:
            if self.library.faults_held():
                others = set(processes) - {self.library.faults_holder()}
                for process in others:
                    _stop(process)
                self.held()
                for process in others:
                    os.kill(process, signal.SIGCONT)
                self.library.faults_go()
        return list(json.loads(command.recv(4096)))

    def _divide(self) -> int:
        if threading.active_count() > 1 or any("filelock" in frame.filename for frame in traceback.extract_stack()):
            return 1 + UNDIVIDED
        if process := os.fork():
            return 1 + _codes([process])[0]
        self._begin()
        return 0

    def _begin(self, fault: str = "None") -> None:
        """Let this process print to the log, and count its operations unless the fault is None."""
        if fault != "None":
            self.library.faults_arm()
        with self.log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)

    def _fork(self, script: str, arguments: tuple[str, ...], first: object = None) -> int:
        sys.stdout.flush()
        if process := os.fork():
            return process
        code = 70
        try:
            if first is not None:
                self.library.faults_first(first)
            self._begin()
            code = self._run(script, arguments)
            sys.stdout.flush()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    def _run(self, script: str, arguments: tuple[str, ...]) -> int:
        root = [] if script == "report" else [f"output_root={self.root}"]
        sys.argv = [f"dovision-{script}", *root, *(word.replace("ROOT", str(self.root)) for word in arguments)]
        try:
            self.scripts[script]()
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code)
            return int(end.code is not None and (end.code if isinstance(end.code, int) else 1))
        return 0

    def said(self) -> str:
        """What the commands have printed since the last call."""
        text = self.log.read_text() if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return text


class Trial:
    """All points of a command, from one output root in which it was not yet given."""

    def __init__(self, harness: Harness, name: str) -> None:
        self.harness, self.name, self.command = harness, name, COMMANDS[name]
        self.base = harness.folder / f"base-{name}"
        root = harness.root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for arguments in self.command.before:
            _codes([harness._fork("evaluate", arguments)])
        for path in root.glob(self.command.removed) if self.command.removed else ():
            shutil.rmtree(path)
        root.rename(self.base)
        self.fresh()
        self.prepared, self.again = harness.prepare(self.command), harness.prepare(self.command)
        codes = harness.give(self.prepared, self.command.workers, 0)
        assert 0 in codes, harness.said()  # of two processes the first to end says that a job is still run
        self.kinds = harness.library.faults_kinds().decode()
        self.whole = files(root)
        print(f"{name}: {len(self.kinds)} operations", flush=True)
        self.seen: dict[str, str] = {}  # what is wrong after a kill that leaves these bytes
        harness.said()

    def fresh(self) -> None:
        """Let the output root be as it was before the command."""
        shutil.rmtree(self.harness.root, ignore_errors=True)
        shutil.copytree(self.base, self.harness.root, symlinks=True)

    def points(self) -> Iterator[Point]:
        """All points; a write of one byte has no half."""
        for number, kind in enumerate(self.kinds, 1):
            for fault in ("kill", *ERRORS, *(["torn"] if kind == "w" else [])):
                yield Point(self.name, fault, number, KINDS[kind])

    def outcomes(self, points: set[Point]) -> Iterator[tuple[Point, str]]:
        """Each point with what is wrong; empty if it passes."""
        outcomes: dict[Point, str] = {}
        self.fresh()
        self.harness.held = partial(self._held, points, outcomes)
        self.harness.give(self.prepared, self.command.workers, HOLD)
        yield from outcomes.items()
        for point in points - outcomes.keys():
            if point.fault in ERRORS and time.monotonic() < self.harness.end:
                self.fresh()
                self.harness.said()
                codes = self.harness.give(self.prepared, self.command.workers, ERRORS[point.fault], point.number)
                yield point, self._mended(point, codes)

    def _held(self, points: set[Point], outcomes: dict[Point, str]) -> None:
        """Let the operation fail in a copy of the output root, or give the command again there."""
        root, library = self.harness.root, self.harness.library
        kinds = library.faults_kinds().decode()  # a letter for each operation so far
        faults = {BEFORE: ERRORS if self.command.workers == 1 else (), TORN: ("torn",), AFTER: ("kill",)}
        for fault in faults[library.faults_held()]:
            point = Point(self.name, fault, len(kinds), KINDS[kinds[-1]])
            if point not in points or time.monotonic() > self.harness.end:
                continue
            if fault not in ERRORS and (wrong := self.seen.get(digest(root))) is not None:
                outcomes[point] = wrong
                continue
            aside = root.rename(f"{root}.held")
            shutil.copytree(aside, root, symlinks=True)
            self.harness.said()
            if fault not in ERRORS:
                outcomes[point] = self._kept(point, self._again())
            elif (code := library.faults_divide(ERRORS[fault])) != UNDIVIDED:
                outcomes[point] = self._mended(point, [code])
            shutil.rmtree(root)
            aside.rename(root)

    def _mended(self, point: Point, codes: list[int]) -> str:
        """Give the command again after one that has met an error."""
        text = self.harness.log.read_text()
        wrong = "a traceback" if "Traceback" in text else ""
        if not any(codes) and (lacking := self.whole.keys() & self._differing()):  # what remains may
            wrong = f"exit code 0, without {', '.join(sorted(lacking)[:4])}"
        return self._kept(point, wrong or self._again(), text)

    def _again(self) -> str:
        """Give the command once more, unless this state was mended before; what is wrong then, empty if nothing is."""
        self.harness.said()
        state = digest(self.harness.root)
        if state not in self.seen:
            self.seen[state] = self._given()
            self.harness.states += 1
        return self.seen[state]

    def _given(self) -> str:
        for path in self.harness.root.rglob("*.partial-*"):
            path.rename(path.with_name(PARTIAL.sub(LEFT, path.name)))
        (code,) = self.harness.give(self.again, 1)
        text, differing = self.harness.log.read_text(), self._differing()
        logs = self.harness.root.rglob("run.log")
        if code or "Traceback" in text:
            return f"exit code {code} of the same command, {'a traceback' if 'Traceback' in text else text[-300:]!r}"
        if any(path.read_text(errors="replace").count("] completed in") > 1 for path in logs):
            return "completed twice"
        return f"other files: {', '.join(differing[:4])}" if differing else ""

    def _differing(self) -> list[str]:
        left = files(self.harness.root)
        return sorted(name for name in {*left, *self.whole} if left.get(name) != self.whole.get(name))

    def _kept(self, point: Point, wrong: str, said: str = "") -> str:
        said += self.harness.said()
        if wrong and self.harness.wrong is not None:
            kept = self.harness.wrong / "-".join(map(str, point))
            shutil.copytree(self.harness.root, kept, dirs_exist_ok=True, symlinks=True)
            (kept / "said").write_text(said)
        return wrong


def _codes(processes: list[int], patience: float = PATIENCE) -> list[int]:
    """Exit codes of forks, which are killed if they do not end in time."""
    end = time.monotonic() + patience
    for process in processes:  # no number is given to another process before all have ended
        while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            time.sleep(0.001)
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF for process in processes]


def _stop(process: int) -> None:
    """Stop a process, and wait until it stands still or has ended."""
    stat = Path(f"/proc/{process}/stat")
    os.kill(process, signal.SIGSTOP)
    while stat.read_text().rpartition(")")[2].split()[0] not in "TZX":
        time.sleep(0.0002)


def files(root: Path) -> dict[str, str]:
    """SHA-256 of each file that bears no times, by its path, and the state and digests of each run."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.name == "run.json":
            text = path.read_text()
            found[name] = str([json.loads(text)["state"], *re.findall("[0-9a-f]{64}", text)])
        elif path.is_file() and not any(fnmatch(name, pattern) for pattern in UNLIKE):
            timed = any(fnmatch(path.name, pattern) for pattern in TIMED)
            found[name] = "" if timed else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def digest(root: Path) -> str:
    """SHA-256 of all names and bytes but those of temporary files and those DIFFERING in records and logs."""
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name, content = path.relative_to(root).as_posix(), b""
        if path.match("*.partial-*"):
            name = PARTIAL.sub(LEFT, name)
        elif path.is_file():
            timed = any(path.match(pattern) for pattern in ("run.json", *TIMED))
            content = DIFFERING.sub(b"", path.read_bytes()) if timed else path.read_bytes()
        sha.update(f"{name} {path.is_file()} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def _digests() -> None:
    """Hash two files of the checkout through the cache of an output root, as each command does."""
    from dovision.identity.digests import Digests
    from dovision.io.text_files import make_folder

    root = Path(sys.argv[1].removeprefix("output_root=")) / "cache"
    try:
        make_folder(root, "output_root")
    except OSError as error:
        sys.exit(str(error))
    digests = Digests(root)
    print(digests.many([HERE / "operations.c", HERE / "exhaustive.py"]))
    digests.save()


if __name__ == "__main__":
    sys.exit(main())
