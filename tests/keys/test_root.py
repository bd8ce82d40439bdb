"""The root key: from one source, told apart from every other, and never waited for without end."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from tenantry.core.errors import Unsafe
from tenantry.keys.aead import Damaged
from tenantry.keys.root import (
    ENVIRONMENT,
    LocalRootKey,
    RootKeyUnreachable,
    WrongRootKey,
    generate,
    local_root_key,
    unwrap,
    wrap,
)

TEXT = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()


class SilentKeeper:
    """A KMS that takes the question and never answers."""

    id = "kms:silent"

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []

    async def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        self.asked.append((plaintext, aad))
        return await asyncio.Future()

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        self.asked.append((wrapped, aad))
        return await asyncio.Future()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "root.key"
    generate(path)
    return path


def test_a_generated_file_is_ours_alone_and_is_read_back(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert local_root_key(key_file, {}).id == local_root_key(key_file, {}).id
    assert list(key_file.parent.iterdir()) == [key_file]


def test_a_root_key_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(Unsafe, match="already"):
        generate(key_file)
    assert key_file.read_bytes() == before
    assert list(key_file.parent.iterdir()) == [key_file]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_us_alone_is_taken(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert local_root_key(key_file, {}).id.startswith("local:")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o700, 0o602])
def test_a_file_that_others_may_use_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(Unsafe, match="may be used by others"):
        local_root_key(key_file, {})


def test_a_file_of_another_user_is_refused(key_file: Path) -> None:
    if os.geteuid() == 0:  # root alone can give a file away; anybody else finds one of root's
        os.chown(key_file, 65_534, -1)
        theirs = key_file
    else:
        theirs = Path("/etc/passwd")
    with pytest.raises(Unsafe, match="another user"):
        local_root_key(theirs, {})


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Unsafe, match="not a regular file"):
        local_root_key(tmp_path / "pipe", {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsafe, match="cannot be opened"):
        local_root_key(tmp_path / "none", {})


def test_the_environment_is_a_source() -> None:
    assert local_root_key(None, {ENVIRONMENT: TEXT}).id == LocalRootKey(bytes(range(32))).id


@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT + "A", TEXT[:-1] + "9", TEXT + "=", "!" * 43, "ä" * 43])
def test_a_text_that_is_not_exactly_a_key_is_refused(text: str) -> None:
    with pytest.raises(Unsafe, match="does not hold a root key") as refusal:
        local_root_key(None, {ENVIRONMENT: text})
    assert TEXT[:20] not in str(refusal.value)


def test_two_sources_are_refused(key_file: Path) -> None:
    with pytest.raises(Unsafe, match="configured twice"):
        local_root_key(key_file, {ENVIRONMENT: TEXT})


def test_ops_14_no_root_key_is_refused_in_one_sentence() -> None:
    """OPS-14: without a root key there is no start, and the refusal says what to do."""
    with pytest.raises(Unsafe) as refusal:
        local_root_key(None, {})
    assert refusal.value.message.count(".") == 1
    assert ENVIRONMENT in refusal.value.hint


async def test_ops_14_a_wrong_root_key_is_named() -> None:
    """OPS-14: a value of another root key is told apart from damage, and both keys are named."""
    right, wrong = LocalRootKey(bytes(range(32))), LocalRootKey(bytes(32))
    wrapped = await wrap(right, b"data key", b"place")
    assert await unwrap(right, wrapped, b"place") == b"data key"
    with pytest.raises(WrongRootKey) as refusal:
        await unwrap(wrong, wrapped, b"place")
    assert right.id in refusal.value.message
    assert wrong.id in refusal.value.message


async def test_ops_14_a_keeper_that_does_not_answer_is_given_up() -> None:
    """OPS-14: a KMS slower than the deadline is unreachable, for both directions."""
    with pytest.raises(RootKeyUnreachable, match="kms:silent"):
        await wrap(SilentKeeper(), b"data key", b"place", deadline_ms=1)
    with pytest.raises(RootKeyUnreachable, match="kms:silent"):
        await unwrap(SilentKeeper(), b"wrapped", b"place", deadline_ms=1)


async def test_a_changed_cut_or_moved_wrap_does_not_open() -> None:
    root = LocalRootKey(bytes(range(32)))
    wrapped = await wrap(root, b"data key", b"place")
    with pytest.raises(Damaged):
        await unwrap(root, wrapped, b"another place")
    for length in range(len(wrapped)):
        with pytest.raises((Damaged, WrongRootKey)):
            await unwrap(root, wrapped[:length], b"place")
    for position in range(len(wrapped)):
        with pytest.raises((Damaged, WrongRootKey)):
            await unwrap(root, wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :], b"place")


def test_a_root_key_does_not_print_itself() -> None:
    assert TEXT not in repr(local_root_key(None, {ENVIRONMENT: TEXT}))
