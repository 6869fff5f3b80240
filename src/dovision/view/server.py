"""Server of the page: its files, and the questions that it asks; nothing is fetched from elsewhere."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dovision import checks
from dovision.config.errors import error_text
from dovision.report import page as report_page
from dovision.view.questions import read_question
from dovision.view.view_session import ViewSession
from dovision.view.worker import Overtaken, Worker

log = logging.getLogger(__name__)
_ATTACK = "attack"
_OPENING = ("sample", "picture")  # the questions that end an attack
_MEDIA = {"save": "application/zip", "thumbnail": "image/png"}  # of answers that are no JSON
_LONGEST = 1000  # characters of an error
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BYTES, MOST_QUESTION = 1 << 27, 1 << 22  # bytes of a picture, and of a question with its region
_CSS, _SCRIPT = "text/css", "text/javascript"
_FILES = {"view.css": _CSS, "view.js": _SCRIPT}
_OF_REPORT: dict[str, tuple[Callable[[], str], str]] = {
    "page.css": (report_page.style_sheet, _CSS),
    "numbers.js": (partial(report_page.template, "numbers.js"), _SCRIPT),
}
_POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
_NO_TOKEN = "open the address that dovision-view has printed, with its token."
_USE = (ValueError, OSError, ImportError, MemoryError, HydraException, OmegaConfBaseException)  # errors of use


def application(session: ViewSession, worker: Worker, token: str, hosts: tuple[str, ...] = LOOPBACK) -> Any:
    """Build the page's ASGI application.

    Args:
        session: answers the questions of the page, in the worker's thread.
        worker: of that thread.
        token: the folder of all addresses, by which a user shows that the server is theirs. In a cookie, a browser
            would send it to every other server of this machine.
        hosts: names by which the server may be addressed, "*" for any. A request by another name is refused: a web
            site could point its own name at this machine.

    Raises:
        ImportError: the extra view is not installed.
    """
    applications = checks.import_extra("starlette.applications", "view")
    routing = checks.import_extra("starlette.routing", "view")
    middleware = checks.import_extra("starlette.middleware", "view")
    answers = Answers(session, worker)
    files = dict.fromkeys((*_OF_REPORT, *_FILES), answers.file)
    read = {"": answers.page, **files, "thumbnail/{sample}": answers.thumbnail}
    routes = [routing.Route(f"/{name}", answer) for name, answer in read.items()]
    routes += [routing.Route(f"/{name}", answer, methods=["POST"]) for name, answer in answers.questions().items()]
    guards = [middleware.Middleware(_Guard, token, hosts, answers)]
    return applications.Starlette(routes=[routing.Mount("/{token}", routes=routes)], middleware=guards)


class _Guard:
    """Refuses requests to another host, or whose path is not below the token, before reading them."""

    def __init__(self, app: Any, token: str, hosts: tuple[str, ...], answers: Answers) -> None:
        self._app, self._token, self._hosts, self._answers = app, token.encode(), hosts, answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = scope.get("path", "").split("/")[1:2]
        is_user = given and secrets.compare_digest(given[0].encode(), self._token)
        app = self._app if is_user else self._answers.error(_NO_TOKEN, 403)
        if "*" not in self._hosts and _host(scope) not in self._hosts:
            app = self._answers.error("Invalid host header", 400)
        await app(scope, receive, send)


def _host(scope: Any) -> str | None:
    """Name of the server in a request's header, without port and brackets; None if there is none, or a wrong one."""
    header = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


class Answers:
    """Handlers of requests, each run in the worker's thread."""

    def __init__(self, session: ViewSession, worker: Worker) -> None:
        self.session = session
        self.worker = worker
        self._disconnect = checks.import_extra("starlette.requests", "view").ClientDisconnect
        self._responses = checks.import_extra("starlette.responses", "view")
        self._in_thread = checks.import_extra("starlette.concurrency", "view").run_in_threadpool

    def questions(self) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        """Handlers by the request's name."""

        def read(answer: Callable[[dict[str, Any]], Any], body: bytes) -> Any:
            return answer(read_question(body))

        routes = {
            name: partial(self._answer, name, partial(read, answer))
            for name, answer in self.session.questions().items()
        }
        return routes | {"picture": self.picture}

    async def page(self, request: Any) -> Any:
        """The page itself."""
        return self._file("index.html", "text/html")

    async def file(self, request: Any) -> Any:
        """Serve a style or script of the page; the first of each is the report's."""
        name = request.url.path.rpartition("/")[2]
        if name in _OF_REPORT:
            text, media_type = _OF_REPORT[name]
            return self._responses.Response(text(), media_type=media_type, headers={"cache-control": "no-cache"})
        return self._file(name, _FILES[name])

    async def thumbnail(self, request: Any) -> Any:
        """A small picture of an image of the data."""
        text = request.path_params["sample"]
        sample = int(text[:9]) if text.isascii() and text.isdecimal() else -1  # no image has more digits
        return await self._answer("thumbnail", lambda _: self.session.thumbnail(sample), request)

    async def picture(self, request: Any) -> Any:
        """Open the file that is the body."""
        name = request.query_params.get("name", "")
        return await self._answer("picture", lambda body: self.session.open_picture(body, name), request)

    async def _answer(self, name: str, answer: Callable[[bytes], Any], request: Any) -> Any:
        most, held = (MOST_BYTES if name == "picture" else MOST_QUESTION), bytearray()
        try:
            async for chunk in request.stream():  # counted as it comes, whatever length its header claims
                held += chunk
                if len(held) > most:
                    return self.error(f"what is sent must have at most {most:,} bytes.", 413)
        except self._disconnect:
            log.warning("%s: the browser broke off after %s bytes", name, f"{len(held):,}")
            return self.error("what is sent must be whole.", 400)
        if name in _OPENING:
            self.worker.overtake(_ATTACK)
        topic = _ATTACK if name == _ATTACK else ""
        try:
            content = await self._in_thread(self.worker.ask, lambda: answer(bytes(held)), topic)
        except Overtaken:
            return self.error("another attack was asked for since, or another image.", 409)
        except KeyError as error:
            return self.error(f"the question must have {error}, got nothing.", 400)
        except _USE as error:
            return self.error(error_text(error), 400)
        except Exception as error:
            log.exception("a question of the page has failed")
            return self.error(f"this has failed: {type(error).__name__}: {error}", 500)
        if name in _MEDIA:
            return self._responses.Response(content, media_type=_MEDIA[name])
        return self._responses.JSONResponse(content)

    def error(self, text: str, status: int) -> Any:
        """Error response with its reason."""
        return self._responses.JSONResponse({"error": text[:_LONGEST]}, status_code=status)

    def _file(self, name: str, media_type: str) -> Any:
        text = (Path(__file__).with_name("page") / name).read_text("utf-8")
        headers = {"content-security-policy": _POLICY, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        headers["referrer-policy"] = "no-referrer"  # the address has the token
        return self._responses.Response(text, media_type=media_type, headers=headers)
