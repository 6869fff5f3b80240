"""Targets that run code or touch files when they are called, with arguments by which that is seen."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Payload:
    """An object that makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


class Trap:
    """A folder in which a file appears, or another disappears, where a target was called.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.canary, self.victim = folder / "canary", folder / "victim"
        self.victim.mkdir()
        self.pickle, self.npy, self.script = (folder / name for name in ("a.pkl", "a.npy", "hubconf.py"))
        self.pickle.write_bytes(pickle.dumps(Payload(self.canary)))
        np.save(self.npy, np.array([Payload(self.canary)], dtype=object), allow_pickle=True)
        self.weights = folder / "a.pt"
        torch.save({"state_dict": Payload(self.canary)}, self.weights)
        self.code = f"__import__('pathlib').Path({str(self.canary)!r}).touch()"
        self.script.write_text(f"{self.code}\ndef network(): pass\n")

    def sprung(self) -> bool:
        """Whether a target was called."""
        return self.canary.exists() or not self.victim.exists()

    def targets(self) -> Mapping[str, Mapping[str, Any]]:
        """Arguments by target."""
        canary, touch, node = (
            str(self.canary),
            f"touch {self.canary}",
            {"_target_": "os.mkdir", "path": str(self.canary)},
        )
        return {
            "os.system": {"command": touch},
            "os.popen": {"cmd": touch},
            "os.mkdir": {"path": canary},
            "os.makedirs": {"name": canary},
            "os.rmdir": {"path": str(self.victim)},
            "os.rename": {"src": str(self.victim), "dst": canary},
            "subprocess.run": {"args": ["touch", canary]},
            "subprocess.call": {"args": ["touch", canary]},
            "subprocess.check_output": {"args": ["touch", canary]},
            "subprocess.getoutput": {"cmd": touch},
            "builtins.eval": {"_args_": [self.code]},
            "builtins.exec": {"_args_": [self.code]},
            "builtins.open": {"file": canary, "mode": "w"},
            "io.open": {"file": canary, "mode": "w"},
            "runpy.run_path": {"path_name": str(self.script)},
            "cProfile.run": {"statement": self.code},
            "timeit.timeit": {"stmt": self.code, "number": 1},
            "shutil.rmtree": {"path": str(self.victim)},
            "shutil.copy": {"src": str(self.script), "dst": canary},
            "shutil.move": {"src": str(self.script), "dst": canary},
            "joblib.load": {"filename": str(self.pickle)},
            "pandas.read_pickle": {"filepath_or_buffer": str(self.pickle)},
            "numpy.load": {"file": str(self.npy), "allow_pickle": True},
            "torch.load": {"f": str(self.weights), "weights_only": False},
            "torch.hub.load": {"repo_or_dir": str(self.script.parent), "model": "network", "source": "local"},
            "torch.utils.collect_env.run": {"command": touch},
            "pathlib.Path.touch": {"self": {"_target_": "pathlib.Path", "_args_": [canary]}},
            "hydra.utils.instantiate": {"config": node},
            "hydra.utils.call": {"config": node},
            "dovision.models._catalogue.make_any": {"settings": node},
            "dovision.models._from_function.from_function": dict.fromkeys(("shape", "task", "classes"))
            | {"network": node},
            "dovision.checks.import_extra": {"module": "antigravity", "extra": "x"},
        }
