"""Parts of a checkpoint are verified by torch's reader, which ignores their checksums otherwise."""

import shutil
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.training.checkpoints.made_up import PARTS, write_checkpoint

from nemotron.errors import UserError
from nemotron.training.checkpoints.verified_parts import find_user_error, verify_parts


@pytest.fixture
def saved(tmp_path):
    """A folder with a damaged checkpoint of iteration 4: one bit of a weight is another, between whole parts."""
    write_checkpoint(tmp_path, 2)
    file = write_checkpoint(tmp_path, 4) / "__0_0.distcp"
    content = bytearray(file.read_bytes())
    content[len(content) // PARTS + content.index(bytes(32)) + 3] ^= 0x40
    file.write_bytes(content)
    return tmp_path


@pytest.fixture
def load(monkeypatch):
    """Load the parts of a checkpoint as torch's reader does."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    monkeypatch.setattr(FileSystemReader, "_slice_file", FileSystemReader._slice_file)
    verify_parts()
    verify_parts()

    def load_parts(folder):
        reader, file = FileSystemReader(folder), folder / "__0_0.distcp"
        length = file.stat().st_size // PARTS
        with file.open("rb") as stream:
            for number in range(PARTS):
                place = SimpleNamespace(relative_path=file.name, offset=number * length, length=length)
                yield torch.load(reader._slice_file(stream, cast("Any", place)), weights_only=True)

    return load_parts


def test_whole_parts_are_loaded(saved, load):
    assert [part.sum() for part in load(saved / "iter_0000002")] == [0] * PARTS


def test_a_changed_bit_names_the_file_and_the_way_to_the_older_checkpoint(saved, load):
    damaged, older = saved / "iter_0000004", saved / "iter_0000002"
    with pytest.raises(UserError) as error:
        list(load(damaged))
    assert str(damaged / "__0_0.distcp") in error.value.message
    assert f"{older} is complete" in str(error.value.hint)
    assert f"mv {damaged} {saved / 'set_aside_iter_0000004'}" in str(error.value.hint)


def test_without_a_whole_older_checkpoint_there_is_no_command(saved, load):
    (saved / "iter_0000002/.metadata").write_bytes(b"")
    with pytest.raises(UserError) as error:
        list(load(saved / "iter_0000004"))
    assert "mv" not in str(error.value.hint).split()
    shutil.rmtree(saved / "iter_0000002")
    with pytest.raises(UserError, match="no older"):
        list(load(saved / "iter_0000004"))


def test_a_users_mistake_is_found_in_what_torch_wraps():
    mistake = UserError("damaged")
    wrapped = BaseException()
    wrapped.failures = {0: (RuntimeError(), None), 1: (mistake, None)}  # pyright: ignore[reportAttributeAccessIssue]
    assert find_user_error(mistake) is find_user_error(wrapped) is mistake
    assert find_user_error(RuntimeError()) is None
