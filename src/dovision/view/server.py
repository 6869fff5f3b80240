"""Server of the page: its files, and the questions that it asks; nothing is fetched from elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dovision import checks
from dovision.config.errors import error_text
from dovision.report import page as report_page
from dovision.view.view_session import ViewSession
from dovision.view.worker import Overtaken, Worker

log = logging.getLogger(__name__)
_ATTACK = "attack"
_OPENING = ("network", "sample")  # with `picture` the questions that end an attack
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OWN_HEADER = "x-dovision-view"  # a page of another origin cannot send it, so that it can ask nothing
MOST_BYTES = 1 << 27  # of what a page sends
_CSS, _SCRIPT = "text/css", "text/javascript"
_FILES = {"/view.css": _CSS, "/view.js": _SCRIPT}
_OF_REPORT = {"/page.css": (report_page.style_sheet, _CSS), "/numbers.js": (report_page.number_script, _SCRIPT)}
_POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
_USE = (ValueError, OSError, ImportError, HydraException, OmegaConfBaseException)  # errors of use


def application(session: ViewSession, worker: Worker, hosts: tuple[str, ...] = LOOPBACK) -> Any:
    """The page as an ASGI application.

    Args:
        session: answers the questions, in the worker's thread.
        worker: of that thread.
        hosts: names by which the server may be addressed, "*" for any. A request by another name is refused: a web
            site could point its own name at this machine.

    Raises:
        ImportError: the extra view is not installed.
    """
    applications = checks.import_extra("starlette.applications", "view")
    routing = checks.import_extra("starlette.routing", "view")
    middleware = checks.import_extra("starlette.middleware", "view")
    trusted = checks.import_extra("starlette.middleware.trustedhost", "view").TrustedHostMiddleware
    answers = Answers(session, worker)
    routes = [routing.Route("/", answers.page), *(routing.Route(path, answers.file) for path in (*_OF_REPORT, *_FILES))]
    routes.append(routing.Route("/thumbnail/{sample:int}", answers.thumbnail))
    routes += [routing.Route(f"/{name}", own, methods=["POST"]) for name, own in answers.questions().items()]
    return applications.Starlette(routes=routes, middleware=[middleware.Middleware(trusted, allowed_hosts=list(hosts))])


class Answers:
    """Answers to requests; each is computed in the worker's thread."""

    def __init__(self, session: ViewSession, worker: Worker) -> None:
        self.session = session
        self.worker = worker
        self._responses = checks.import_extra("starlette.responses", "view")
        self._in_thread = checks.import_extra("starlette.concurrency", "view").run_in_threadpool

    def questions(self) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        """The questions of the page by their names."""
        own = self.session
        plain: dict[str, Callable[[dict[str, Any]], Any]] = {
            "choices": lambda asked: own.choices(),
            "sites": lambda asked: own.sites(),
            "units": lambda asked: own.units(str(asked["site"])),
            "network": own.open_network,
            "sample": lambda asked: own.open_sample(asked["sample"]),
            "effect": own.effect,
            _ATTACK: own.attacked,
            "texts": own.texts,
            "map": self._begin_map,
            "maps": lambda asked: own.map_pictures(list(asked["images"]), asked["scale"]),
        }
        return {name: partial(self._answer, name, answer) for name, answer in plain.items()} | {
            "picture": self.picture,
            "save": self.save,
        }

    async def page(self, request: Any) -> Any:
        """The page itself."""
        return self._file("index.html", "text/html")

    async def file(self, request: Any) -> Any:
        """Its styles and its script; the first of each is the report's."""
        path = request.url.path
        if path in _OF_REPORT:
            text, kind = _OF_REPORT[path]
            return self._responses.Response(text(), media_type=kind, headers={"cache-control": "no-cache"})
        return self._file(path[1:], _FILES[path])

    async def thumbnail(self, request: Any) -> Any:
        """A small picture of an image of the data."""
        sample = request.path_params["sample"]
        return await self._guarded(lambda: self.session.thumbnail(sample), "image/png")

    async def picture(self, request: Any) -> Any:
        """Open the file that is the body."""
        if refused := self._refused(request):
            return refused
        data, name = await request.body(), request.query_params.get("name", "")
        self.worker.overtake(_ATTACK)
        return await self._guarded(lambda: self.session.open_picture(data, name))

    async def save(self, request: Any) -> Any:
        """The archive of what is shown."""
        if refused := self._refused(request):
            return refused
        body = await request.body()
        return await self._guarded(lambda: self.session.saved(json.loads(body)), "application/zip")

    async def _answer(self, name: str, answer: Callable[[dict[str, Any]], Any], request: Any) -> Any:
        if refused := self._refused(request):
            return refused
        body = await request.body()
        if name in _OPENING:
            self.worker.overtake(_ATTACK)

        def answered() -> Any:
            asked = json.loads(body or b"{}")
            return answer(checks.instance("the question", asked, dict, "an object of JSON"))

        return await self._guarded(answered, topic=_ATTACK if name == _ATTACK else "")

    def _begin_map(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"map {'attacked' if self.session.image(asked).clean else 'clean'}"
        self.worker.begin(name, self.session.begin_map(asked))
        return {}

    def _refused(self, request: Any) -> Any:
        if OWN_HEADER not in request.headers:
            return self._error("this question must come from the page itself.", 403)
        if int(request.headers.get("content-length", 0)) > MOST_BYTES:
            return self._error(f"a file must have at most {MOST_BYTES:,} bytes.", 413)
        return None

    async def _guarded(self, answer: Callable[[], Any], media_type: str = "", topic: str = "") -> Any:
        try:
            found = await self._in_thread(self.worker.ask, answer, topic)
        except Overtaken:
            return self._error("another attack was asked for since, or another image.", 409)
        except (*_USE, KeyError, TypeError) as error:
            return self._error(error_text(error), 400)
        except Exception as error:
            log.exception("a question of the page has failed")
            return self._error(f"this has failed: {type(error).__name__}: {error}", 500)
        if media_type:
            return self._responses.Response(found, media_type=media_type)
        return self._responses.JSONResponse(found)

    def _error(self, text: str, status: int) -> Any:
        return self._responses.JSONResponse({"error": text}, status_code=status)

    def _file(self, name: str, media_type: str) -> Any:
        text = (Path(__file__).with_name("page") / name).read_text("utf-8")
        headers = {"content-security-policy": _POLICY, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        return self._responses.Response(text, media_type=media_type, headers=headers)
