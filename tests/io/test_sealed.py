"""A file that carries a digest of its bytes is read as it was written, or not at all."""

import io
import resource
import zipfile
from argparse import Namespace
from collections import defaultdict, deque
from pathlib import Path

import pytest
import torch

from dovision.io import sealed

CONTENT = {"weight": torch.arange(300.0), "names": ["a", "b"], "counts": {"x": 1, "y": 2.5, "z": None}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sealed.write_sealed(tmp_path / "a.ckpt", CONTENT)
    return tmp_path / "a.ckpt"


def test_what_is_written_is_read_by_torch_itself_too(path):
    found = sealed.read_sealed(path)
    assert torch.equal(found.pop("weight"), CONTENT["weight"])
    assert found == {"names": CONTENT["names"], "counts": CONTENT["counts"]}
    assert torch.equal(torch.load(path, weights_only=True)["weight"], CONTENT["weight"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_a_disk_that_is_full_is_the_reason_and_nothing_is_left(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # bytes of a file
    try:
        with pytest.raises(OSError, match="File too large"):  # of torch's archive, "enforce fail: unexpected pos"
            sealed.write_sealed(tmp_path / "a.ckpt", {"weight": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_gives_the_same_bytes_whichever_equal_parts_are_one_object(path, tmp_path):
    sealed.write_sealed(tmp_path / "another.name", CONTENT)
    assert path.read_bytes() == (tmp_path / "another.name").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.ckpt", "another.name"]
    word, pair = "loss", ["a", "b"]
    weights = torch.nn.BatchNorm1d(2).state_dict()
    own = {"one": word, "two": word, "three": pair, "four": pair, word: (0.9, word), "weights": weights}
    other = {"one": "lo" + word[2:], "two": word, "three": ["a", "b"], "four": [*"ab"], word: (0.9, word[:2] + "ss")}
    for name, content in (("own", own), ("other", {**other, "weights": torch.nn.BatchNorm1d(2).state_dict()})):
        sealed.write_sealed(tmp_path / name, content)
    again = sealed.read_sealed(tmp_path / "own")
    sealed.write_sealed(tmp_path / "again", again)
    first, *others = [(tmp_path / name).read_bytes() for name in ("own", "other", "again")]
    assert all(each == first for each in others)
    assert again["weights"]._metadata == weights._metadata


def test_every_flipped_bit_is_found(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"a\.ckpt (is damaged|must)"):
            sealed.verify(path, io.BytesIO(changed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data + b"\0", "must end with dovision's digest"),
        (lambda data: data + b"x" * 82, "must end with dovision's digest"),
        (lambda data: data + b"PK\x05\x06" + b"\0" * 18, "must end with dovision's digest"),
        (lambda data: data.replace(b"dovision 2 ", b"dovision 3 "), "must be of dovision's format 2, got 3"),
    ],
)
def test_bytes_after_the_end_and_another_format_are_refused(path, change, message):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.ckpt {message}"):
        sealed.read_sealed(path)


def test_an_archive_that_would_grow_is_not_unpacked_to_look_for_its_classes(tmp_path, monkeypatch):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 1000 + b"N.")
    looked = []
    monkeypatch.setattr(torch.serialization, "get_unsafe_globals_in_checkpoint", looked.append)
    with pytest.raises(ValueError, match=r"bomb\.pt cannot be read: its .* bytes would unpack to 2,00"):
        sealed.read_tensors(path, "")
    assert not looked


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a file of torch.save, but begins with nothing. Copy or download it again."),
        (b"<!DOCTYPE html><html>Sign in", "but begins with '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Fetch the file itself: git lfs pull."),
        (b"PK\x03\x04 cut off", "cannot be read: PytorchStreamReader failed reading zip archive"),
    ],
)
def test_what_torch_has_not_saved_is_named_by_its_beginning(tmp_path, content, message):
    (tmp_path / "b.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.pt") as refused:
        sealed.read_plain(tmp_path / "b.pt", "")
    assert message in str(refused.value)


def test_a_module_of_torchscript_is_refused_with_the_way_to_its_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        for name in ("b/data.pkl", "b/code/__torch__.py", "b/constants.pkl"):
            archive.writestr(name, "")
    with pytest.raises(ValueError, match=r"is a module of TorchScript. Save its weights alone: torch.save\("):
        sealed.read_plain(tmp_path / "b.pt", "")


def test_objects_of_other_classes_are_passed_over_and_nothing_of_them_is_run(tmp_path):
    class Loud:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"weight": torch.ones(2), "loud": Loud(), "args": Namespace(lr=1)}, tmp_path / "b.pt")
    found, unread = sealed.read_tensors(tmp_path / "b.pt", "")
    assert torch.equal(found["weight"], torch.ones(2))
    assert isinstance(found["loud"], sealed.Unread)
    assert unread == ["argparse.Namespace", "builtins.print"]
    with pytest.raises(ValueError, match="tensors and plain types only"):
        sealed.read_plain(tmp_path / "b.pt", "")


@pytest.mark.parametrize("settings", [defaultdict(list, lr=[1]), deque([1])])
def test_a_container_of_another_class_is_named(tmp_path, settings):
    torch.save({"weight": torch.ones(2), "settings": settings}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=rf"collections.{type(settings).__name__}.* was not opened. Save them alone."):
        sealed.read_tensors(tmp_path / "b.pt", "Save them alone.")
