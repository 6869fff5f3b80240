"""Where a run comes from, held against what git, torch and the system say."""

import resource
import subprocess
from pathlib import Path

import torch

from dovision.config import hashing
from dovision.store.provenance import git_commit, origin, peak_memory, provenance, software


def test_the_commit_is_the_checkouts_or_that_of_no_checkout():
    found = git_commit()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert found is None or found.removesuffix("+") == head.stdout.strip()


def test_rows_depend_on_code_torch_settings_data_and_weights_and_on_nothing_else():
    around = {**software(), "settings": "0", "components": {"mine": "1"}, "files": {"attack.table": "2"}}
    data = {"dataset_fingerprint": "abc", "checkpoints": {"classifier": "def"}}
    assert origin({**around, **data, "bad_files": [], "device": "cpu"}) == {**around, **data}
    assert software() == {"code": hashing.code_hash(), "torch": torch.__version__}


def test_versions_are_those_that_run():
    facts = provenance()
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert 0 < peak_memory() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
