"""The command dovision-view: a page on which an image is brushed over, and P(y | do) moves."""

from __future__ import annotations

import logging
import secrets
import socket
from contextlib import suppress

from dovision import checks
from dovision.config.settings import ViewSettings
from dovision.identity.dependencies import CLASSIFIER
from dovision.io.progress import DISPLAY
from dovision.io.signals import Stopped
from dovision.jobs.job import Job
from dovision.jobs.recorded_runs import of_run
from dovision.jobs.train import fitted_network
from dovision.training.model_cache import FittedModel
from dovision.view.opened_network import OpenedNetwork
from dovision.view.server import LOOPBACK, application
from dovision.view.view_session import ViewSession
from dovision.view.worker import Overtaken, Worker

log = logging.getLogger(__name__)


def view(job: Job) -> None:
    """Open the network and the images, and serve the page until Ctrl-C.

    Raises:
        ValueError: the extra view is not installed.
        OSError: the address cannot be listened to.
    """
    settings: ViewSettings = job.settings
    try:
        uvicorn = checks.import_extra("uvicorn", "view")
        checks.import_extra("starlette.applications", "view")
    except ImportError as error:
        raise ValueError(str(error)) from error
    worker = Worker()

    def check() -> None:
        if server.should_exit:  # Ctrl-C ends an attack, too
            raise Overtaken
        worker.check()

    with DISPLAY.job(["data", "classifier"]):
        session = ViewSession(worker.ask(lambda: open_network(job)), check, worker.begin)
    local = settings.host in LOOPBACK
    token = secrets.token_urlsafe(24)
    app = application(session, worker, token, LOOPBACK if local else ("*",))
    with listening(settings.host, settings.port) as listener:
        if not local:
            log.warning(
                "host=%s lets other machines in, unencrypted: whoever has the address can open images, runs and "
                "checkpoints of this machine. With host=127.0.0.1 only this machine can; from afar use ssh -L.",
                settings.host,
            )
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"http://{name}:{listener.getsockname()[1]}/{token}/  (Ctrl-C ends it)", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        with suppress(KeyboardInterrupt, Stopped):  # the usual end
            server.run(sockets=[listener])


def open_network(job: Job) -> OpenedNetwork:
    """Open the network and images of dovision-view; fitted if necessary.

    Raises:
        FileNotFoundError, ValueError: as of `of_run`, or as dovision-evaluate refuses such settings.
    """
    settings: ViewSettings = job.settings
    if settings.run is not None:
        return of_run(settings.run, settings.split, settings.trust_checkpoint)
    job, fitted = job.identified(), dict[str, FittedModel]()
    for name in job.networks:
        job, fitted[name] = fitted_network(job, name, fitted)
    model = fitted[CLASSIFIER].model
    title = str(model.get("name") or model["_target_"].rpartition(".")[2])
    title += f" ({settings.checkpoint.name})" if settings.checkpoint else ""
    return OpenedNetwork(title, settings, job.images, settings.split if settings.has_labels else "test", fitted)


def listening(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        OSError: it cannot; the message names the setting.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(
            f"host={host} port={port} cannot be listened to ({error.strerror}). For a free port: port=0."
        ) from error
    return listener
