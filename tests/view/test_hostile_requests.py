"""What anybody may send to the server: a sentence answers it, nothing runs, and no variable is read."""

import asyncio
import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from dovision.view.questions import read_question
from dovision.view.reproduction import ImageOrigin
from dovision.view.server import MOST_BYTES, MOST_QUESTION, application
from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker
from made_view import packed_mask

BROKEN_OFF = b"broken off"
TOKEN, SECRET = "a-token", "hunter2-of-the-environment"
THREAD = ThreadPoolExecutor(1)
REGION = packed_mask(np.ones((8, 8)))
FILL = {"name": "constant", "settings": {"value": 0.25}}
UNIT = {"site": "relu", "kind": "channel", "number": 5, "value": {"name": "noise", "settings": {"scale": 1}}}
ATTACK = {"name": "pgd", "eps": "8/255", "settings": {"steps": 1, "restarts": 1}}
QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "choices": [{}],
    "sites": [{}],
    "units": [{"site": "relu"}],
    "sample": [{"sample": 0}],
    "effect": [{"image": 1, "target": 0, "mask": REGION, "fill": FILL}, {"image": 1, "unit": UNIT}],
    "attack": [{"image": 1, "target": 0, "attack": ATTACK}],
    "maps": [{"images": [1], "rows": 2, "fill": FILL, "target": 0, "scale": "probability"}],
    "around": [
        {"image": 1, "target": 0, "mask": REGION, "fill": FILL, "scale": "log_odds", "classes": [0, 1]},
        {"image": 1, "unit": UNIT, "scale": "probability", "classes": []},
    ],
    "ranking": [{"image": 1, "target": 0, "unit": UNIT, "scale": "probability"}],
    "texts": [{"image": 1, "rows": 2, "fill": FILL, "scale": "log_odds"}, {"image": 1, "unit": UNIT}],
    "save": [{"image": 1, "target": 0, "mask": REGION, "fill": FILL, "scale": "probability"}],
}
HOSTILE = [
    *("${oc.env:SECRET}", "${ oc.env:SECRET }", "x${oc.decode:'1'}", "8/255${seed}", "${value}"),
    *([], {}, [[]], [1], {"a": 1}, "", " ", "\x00", "../../../etc/passwd", "/dev/zero", "__class__", "é" * 5000, "a b"),
    *({"_target_": "os.mkdir", "path": "canary"}, {"value": {"_target_": "os.system"}, "_partial_": True}),
    *(True, -1, 1.5, 10**9, 2**63, 10**400, 1e300, "9" * 5000, "1e999", "nan", "-inf", "0/0", "1/1e-320"),
    *(float("nan"), float("inf"), float("-inf")),  # which Python writes into JSON, and reads
]


def reply(
    app: Any, path: str, body: bytes | Iterator[bytes] = b"", method: str = "POST", host: str = "127.0.0.1"
) -> tuple[int, bytes]:
    """Status and body of the answer to a request, whose body comes in pieces and has no length."""
    sent: list[dict[str, Any]] = []
    waiting = iter([body]) if isinstance(body, bytes) else body

    async def receive() -> dict[str, Any]:
        chunk = next(waiting, None)
        if chunk == BROKEN_OFF:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "root_path": "", "scheme": "http", "headers": [(b"host", host.encode())]}
    scope |= {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
    THREAD.submit(asyncio.run, app(scope, receive, send)).result(60)  # a browser's test leaves a loop in this one
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(scope="module")
def app(opened):
    """The page's application."""
    pytest.importorskip("starlette", reason="needs the extra view")
    worker = Worker()
    session = ViewSession(opened, worker.check, worker.begin)
    session.open_sample(0)
    yield application(session, worker, TOKEN)
    worker.close()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """A secret in the environment, and a working directory without files."""
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.chdir(tmp_path)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value of a question, at any depth, and of a key that is in none."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield (*path, key)
        if isinstance(node[key], (dict, list)):
            yield from leaves(node[key], (*path, key))
    if isinstance(node, dict):
        yield (*path, "extra")


def changed(base: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found = copy.deepcopy(base)
    node: Any = found
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return found


def refused(status: int, body: bytes) -> str:
    """The sentence of an answer, which is an error of use."""
    assert status in (400, 409, 413), body
    text = json.loads(body)["error"]
    assert 10 < len(text) <= 1000
    assert "\n" not in text
    return text


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_the_questions_that_are_changed_are_answered(app, name):
    for base in QUESTIONS[name]:
        assert reply(app, f"/{TOKEN}/{name}", json.dumps(base).encode())[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, own in QUESTIONS.items() for number in range(len(own))]
)
def test_each_value_of_each_question_may_be_anything(app, name, number, tmp_path):
    base = QUESTIONS[name][number]
    for path in leaves(base):
        for value in HOSTILE:
            status, body = reply(app, f"/{TOKEN}/{name}", json.dumps(changed(base, path, value)).encode())
            assert SECRET.encode() not in body
            if status != 200:
                refused(status, body)
            elif path[-1] == "extra" or "${" in str(value):
                pytest.fail(f"{path} = {value!r:.80} was taken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[[],[]",
        b"null",
        b"1",
        b'"choices"',
        b"\xff\xfe",
        b"{'image': 1}",
        b'{"image": 1',
        b'{"image": 1e999}',
        b'{"image": Infinity}',
        b'{"image": ' + b"9" * 5000 + b"}",
        b'{"' + b"k" * 100_000 + b'": 1}',
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("name", ["effect", "save"])
def test_a_body_that_is_no_question_is_refused(app, name, body):
    assert refused(*reply(app, f"/{TOKEN}/{name}", body))


@pytest.mark.parametrize(
    ("name", "most"), [("effect", MOST_QUESTION), ("save", MOST_QUESTION), ("picture", MOST_BYTES)]
)
def test_a_body_without_a_length_is_counted_as_it_comes(app, name, most):
    chunk = bytes(1 << 20)
    given = iter([chunk] * 10_000)
    text = refused(*reply(app, f"/{TOKEN}/{name}", given))
    assert f"{most:,} bytes" in text
    assert sum(1 for _ in given) >= 10_000 - (most >> 20) - 2  # the rest was not asked for


@pytest.mark.parametrize("name", ["effect", "save", "picture"])
def test_an_upload_that_breaks_off_is_a_line_in_the_log(app, name, caplog):
    assert reply(app, f"/{TOKEN}/{name}", iter([bytes(3), BROKEN_OFF]))[0] == 400
    assert caplog.messages == [f"{name}: the browser broke off after 3 bytes"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(host, 200) for name in ("127.0.0.1", "localhost", "[::1]") for host in (name, f"{name}:8000")],
        *[(host, 400) for host in ("evil.example", "[::2]", "[::1", "::1", "127.0.0.1.evil.example", "", "[", "é")],
    ],
)
def test_the_server_answers_to_the_names_of_this_machine_alone(app, host, status):
    assert reply(app, f"/{TOKEN}/view.css", method="GET", host=host)[0] == status


@pytest.mark.parametrize(
    "sample", ["8", "-1", "99999999999", "9" * 5000, "0,1", '0,"path":"x"', "..", "%2e%2e", "1e1", "\u0663"]
)
def test_a_thumbnail_is_one_of_the_images(app, sample):
    refused(*reply(app, f"/{TOKEN}/thumbnail/{sample}", method="GET"))
    assert reply(app, f"/{TOKEN}/thumbnail/0", method="GET")[1].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path", ["../server.py", "..%2fserver.py", "page/view.js", "view.js/..", "thumbnail/0/../../x", "%00"]
)
def test_no_other_file_is_served(app, path):
    assert reply(app, f"/{TOKEN}/{path}", method="GET")[0] == 404


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rows": 10**6}, "rows must be a whole number from 1 to 64"),
        ({"attack": {**ATTACK, "settings": {"steps": 10**9}}}, r"steps must be a number in \[-1000, 1000\]"),
        ({"fill": {"name": "constant", "settings": {"image": 1}}}, "fill.settings has no key 'image'"),
        ({"site": "a\nb"}, "site must be a line"),
        ({"unit": {"number": "0]); print(1)"}}, "number must be a whole number"),
    ],
)
def test_a_question_is_refused_by_its_key(asked, message):
    with pytest.raises(ValueError, match=message):
        read_question(json.dumps(asked).encode())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ring.png", "ring.png"),
        ("../../.bashrc", "bashrc"),
        ("..", "picture"),
        ("", "picture"),
        ("/etc/passwd", "passwd"),
        ("a\\..\\b.png", "b.png"),
    ],
)
def test_a_dropped_picture_takes_the_place_of_no_other_file(opened, name, file):
    assert ImageOrigin(opened, name, None, dropped=True).file == f"images/{file}"
