import hashlib
import os
from functools import partial

import pytest

from diffsynth.errors import UserError
from diffsynth.runs.files import (
    atomic_folder,
    atomic_path,
    check_apart,
    check_writable,
    read_json,
    sha256,
    write_json,
)
from diffsynth.runs.resuming import resumable_folder

atomic_out = partial(atomic_folder, index="index.json")


def fail_after(write):
    """Runs `write`, then fails as a full disk would."""
    write()
    raise OSError("disk full")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    path = tmp_path / "new" / "x.wav"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".wav"
        assert temporary.parent == path.parent
        temporary.write_text("sound")
        assert not path.exists()
    assert path.read_text() == "sound"
    assert listing(path.parent) == ["x.wav"]
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    assert path.stat().st_mode == ordinary.stat().st_mode
    with atomic_path(path) as temporary:  # as safetensors does
        private = tmp_path / "private"
        private.touch(0o600)
        private.replace(temporary)
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_path(path) as temporary:
        fail_after(lambda: temporary.write_text("half"))
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["x.txt"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    old = tmp_path / "out"
    old.mkdir()
    for name in ("stale.png", "index.json"):
        (old / name).touch()
    with atomic_folder(old, "index.json") as temporary:
        (temporary / "fresh.png").write_text("")
        assert listing(old) == ["index.json", "stale.png"]
    assert listing(old) == ["fresh.png"]
    assert listing(tmp_path) == ["out"]
    assert old.stat().st_mode & 0o777 == 0o777 & ~_umask()


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path):
    old = tmp_path / "out"
    old.mkdir()
    for name in ("stale.png", "index.json"):
        (old / name).touch()
    with pytest.raises(OSError, match="disk full"), atomic_folder(old, "index.json") as temporary:
        fail_after((temporary / "fresh.png").touch)
    assert listing(old) == ["index.json", "stale.png"]
    assert listing(tmp_path) == ["out"]


@pytest.mark.parametrize("other", ["thesis.txt", "takes", "take.wav", "manifest.json", ".hidden"])
@pytest.mark.parametrize("write", [atomic_folder, resumable_folder])
def test_a_folder_of_somebody_else_is_not_replaced(tmp_path, write, other):
    """Nor that of another stage, which has another index."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / other).mkdir() if other == "takes" else (mine / other).touch()
    message = "mine holds other files, which would be replaced"
    with pytest.raises(UserError, match=message), write(mine, "index.json"):
        raise AssertionError("the work has begun")
    assert listing(mine) == [other]
    assert listing(tmp_path) == ["mine"]


@pytest.mark.parametrize("write", [atomic_folder, resumable_folder])
def test_a_file_is_no_folder_to_write(tmp_path, write):
    (tmp_path / "params.yaml").touch()
    message = r"params\.yaml is a file, not a folder"
    with pytest.raises(UserError, match=message), write(tmp_path / "params.yaml", "index.json"):
        raise AssertionError("the work has begun")
    assert listing(tmp_path) == ["params.yaml"]


def test_what_is_read_does_not_lie_in_what_is_written(tmp_path):
    check_apart(tmp_path / "out", tmp_path / "in", tmp_path / "output")
    for path in (tmp_path / "out", tmp_path / "out" / "deep" / "in"):
        with pytest.raises(UserError, match=r"lies in .*out, which would be replaced"):
            check_apart(tmp_path / "out", tmp_path / "in", path)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_umask_is_never_set_because_it_belongs_to_all_threads(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask was set"))
            for atomic, path in ((atomic_path, tmp_path / "x.txt"), (atomic_out, tmp_path / "folder")):
                with atomic(path):
                    pass
        assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(before)


@pytest.mark.parametrize("atomic", [atomic_path, atomic_out])
def test_where_nothing_can_be_written(tmp_path, atomic):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write .*x\.txt: "),
        atomic(tmp_path / "file" / "x.txt"),
    ):
        raise AssertionError("the body must not run")


def test_json_survives_a_file(tmp_path):
    value = {"title": "Für Elise", "offsets": [0.1, -2, None], "ok": True}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_text(encoding="utf8").startswith('{\n  "title": "Für Elise",\n')


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_what_is_no_json(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match="is not readable as JSON"):
        read_json(tmp_path / "x.json")


def test_json_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "x.json")


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_place_is_checked_without_making_anything(tmp_path):
    (tmp_path / "file").write_text("in the way")
    check_writable(tmp_path / "new" / "deep" / "x.wav")
    check_writable(tmp_path / "file")  # would be replaced
    for path, problem in (
        (tmp_path, f"{tmp_path} is a folder"),
        (tmp_path / "file" / "x.wav", f"cannot write {tmp_path}/file/x.wav: Not a directory"),
        (tmp_path / "file" / "deep" / "x.wav", f"cannot write {tmp_path}/file/deep/x.wav: Not a directory"),
    ):
        with pytest.raises(UserError) as refusal:
            check_writable(path)
        assert str(refusal.value) == problem
    assert listing(tmp_path) == ["file"]


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
    check_writable(tmp_path.parent / "x.wav")
    with pytest.raises(UserError, match=rf"cannot write {tmp_path}/new/x\.wav: {tmp_path} is not writable"):
        check_writable(tmp_path / "new" / "x.wav")


def test_a_file_in_the_place_of_a_folder_is_told_as_such(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for write in (atomic_path, atomic_out):
        with (
            pytest.raises(UserError, match=r"cannot write .*: Not a directory"),
            write(tmp_path / "file" / "x"),
        ):
            pass
