"""Networks that are opened without the command, and the page served to this process."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

import dovision as dv
from dovision.config.sources import configuration_folder
from dovision.identity.dependencies import CLASSIFIER
from dovision.interfaces import Images, Source
from dovision.training.model_cache import FittedModel
from dovision.view.opened_network import OpenedNetwork

TOKEN = "a-token"


class Shown(Images):
    """Images of a batch, as a dataset."""

    def __init__(self, batch: dv.Batch, task: dv.Task) -> None:
        self.task, self.shape, self.content, self.batch = task, tuple(batch.image.shape[1:]), "shown", batch

    def source(self, split: str) -> Source:
        return Source(lambda row: self.batch.image[row], self.batch.label, self.batch.sample)

    def source_table(self, split: str) -> Any:
        names = [f"digit {row}" for row in range(len(self.batch.image))]
        return pd.DataFrame({"name": names, "group": names})


@pytest.fixture(scope="session")
def opened() -> OpenedNetwork:
    """The example of the notebook: a classifier of digits and eight of them."""
    classifier, digits = dv.example()
    fitted = FittedModel(classifier, Path("example.ckpt"), "", {}, {}, {})
    dataset = yaml.safe_load((configuration_folder() / "dataset" / "digits.yaml").read_text())
    settings: Any = SimpleNamespace(seed=0, checkpoint=fitted.path, fits_classifier=False, dataset=dataset)
    return OpenedNetwork("example", settings, Shown(digits, classifier.task), "test", {CLASSIFIER: fitted})


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a session on a free port of this machine, and gives its address, token included."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra view")
    from dovision.jobs.view import listening
    from dovision.view.server import application

    running: list[tuple[Any, threading.Thread]] = []

    def start(session: Any, worker: Any) -> str:
        own, app = listening("127.0.0.1", 0), application(session, worker, TOKEN)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{own.getsockname()[1]}/{TOKEN}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)
