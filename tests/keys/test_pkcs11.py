"""A root key in a token, against SoftHSM."""

import asyncio
import importlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pkcs11
import pytest

from tenantry.app.config import RootKeyConfig, TokenConfig, load, to_toml
from tenantry.app.root import root_key
from tenantry.core import scopes
from tenantry.core.errors import Unsafe
from tenantry.core.ids import PLATFORM
from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import DataKey, unwrap_data_key, wrap_data_key
from tenantry.keys.pkcs11 import QUEUE_MAX, Pkcs11RootKey, TokenThread
from tenantry.keys.root import RootKeyUnreachable, WrongRootKey, header, unwrap, wrap
from tenantry.keys.schema import DATA_KEYS_OF
from tests.stand.databases import sqlite_database
from tests.stand.nodes import configured, deployed, node_of

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "use-an-hsm.md"
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
ACME = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"
PIN = "271828"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pkcs11.Token]:
    if not SOFTHSM.is_file() or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed: apt-get install softhsm2")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    init = ["softhsm2-util", "--init-token", "--free", "--label", "tenantry", "--pin", PIN, "--so-pin", "314159"]
    subprocess.run(init, check=True, capture_output=True)
    library = pkcs11.lib(str(SOFTHSM))
    yield library.get_token(token_label="tenantry")
    library.finalize()
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(scope="module")
def made_keys(token: pkcs11.Token) -> None:
    make_key(token, "root")
    make_key(token, "other")
    make_key(token, "loose", extractable=True)
    make_key(token, "short", bits=128)


@pytest.fixture
async def root(made_keys: None) -> Pkcs11RootKey:
    return await opened("root")


async def opened(key: str, *, label: str = "tenantry", pin: str = PIN, module: Path = SOFTHSM) -> Pkcs11RootKey:
    return await Pkcs11RootKey.open(module, token=label, key=key, pin=pin)


async def test_a_data_key_wrapped_in_the_token_comes_back(root: Pkcs11RootKey) -> None:
    data_key = DataKey.generate(ACME, 1)
    wrapped = await wrap_data_key(root, data_key)
    assert data_key.reveal() not in wrapped
    assert (await unwrap_data_key(root, wrapped, ACME, 1)).reveal() == data_key.reveal()
    with pytest.raises(Damaged):
        await unwrap_data_key(root, wrapped, ACME, 2)


async def test_a_key_opened_again_is_the_same_root_key(root: Pkcs11RootKey) -> None:
    wrapped = await wrap(root, b"data key", b"place")
    assert await unwrap(await opened("root"), wrapped, b"place") == b"data key"


async def test_ops_14_another_key_of_the_token_is_named_as_wrong(root: Pkcs11RootKey) -> None:
    """OPS-14: a wrong root key is told apart from damage, also in a token."""
    wrapped = await wrap(root, b"data key", b"place")
    with pytest.raises(WrongRootKey, match=root.id):
        await unwrap(await opened("other"), wrapped, b"place")


async def test_a_changed_or_cut_wrap_is_damaged_and_the_token_goes_on(root: Pkcs11RootKey) -> None:
    wrapped = await wrap(root, b"data key", b"place")
    for changed in (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), wrapped[:-1], wrapped[:-20]):
        with pytest.raises(Damaged):
            await unwrap(root, changed, b"place")
    assert await unwrap(root, wrapped, b"place") == b"data key"


async def test_many_callers_share_one_token(root: Pkcs11RootKey) -> None:
    wrapped = await asyncio.gather(*(wrap(root, str(n).encode(), b"place") for n in range(QUEUE_MAX)))
    opened_again = await asyncio.gather(*(unwrap(root, one, b"place") for one in wrapped))
    assert [int(one) for one in opened_again] == list(range(QUEUE_MAX))


@pytest.mark.parametrize(
    ("key", "refusal"), [("loose", "can leave"), ("short", "not a 256-bit"), ("missing", "cannot be used")]
)
async def test_a_key_that_is_no_safe_root_key_is_refused(made_keys: None, key: str, refusal: str) -> None:
    with pytest.raises(Unsafe, match=refusal):
        await opened(key)


async def test_an_unknown_token_or_library_is_refused(made_keys: None) -> None:
    with pytest.raises(Unsafe, match="nowhere"):
        await opened("root", label="nowhere")
    with pytest.raises(Unsafe, match="no PKCS #11 library"):
        await opened("root", module=Path("/nonexistent.so"))


async def test_ops_14_a_session_that_the_token_ended_is_unreachable_once_and_then_made_anew(
    root: Pkcs11RootKey,
) -> None:
    """OPS-14: a token that refuses at run time is `Upstream`; when it takes the log-in again, so do we."""
    wrapped = await wrap(root, b"data key", b"place")
    restart_the_token()
    with pytest.raises(RootKeyUnreachable):
        await unwrap(root, wrapped, b"place")
    assert await unwrap(root, wrapped, b"place") == b"data key"


async def test_a_key_replaced_under_its_label_is_refused_as_another_root_key(token: pkcs11.Token) -> None:
    restart_the_token()
    make_key(token, "replaced")
    root = await opened("replaced")
    wrapped = await wrap(root, b"data key", b"place")
    restart_the_token()
    with token.open(user_pin=PIN, rw=True) as session:
        session.get_key(label="replaced").destroy()
    make_key(token, "replaced")
    with pytest.raises(RootKeyUnreachable):
        await unwrap(root, wrapped, b"place")
    with pytest.raises(WrongRootKey, match="in place of"):
        await unwrap(root, wrapped, b"place")


async def test_a_wrong_pin_is_refused(made_keys: None) -> None:
    restart_the_token()
    with pytest.raises(Unsafe, match="refused the PIN"):
        await opened("root", pin="999999")
    await opened("root")


async def test_more_calls_than_the_queue_holds_are_refused_at_once() -> None:
    thread = TokenThread()
    release, begun = threading.Event(), threading.Event()
    stuck = asyncio.ensure_future(thread.run(lambda: (begun.set(), release.wait())))
    await asyncio.to_thread(begun.wait)
    waiting = [asyncio.ensure_future(thread.run(lambda: True)) for _ in range(QUEUE_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(RootKeyUnreachable, match="Too many calls"):
        await thread.run(lambda: True)
    release.set()
    assert all(await asyncio.gather(*waiting))
    await stuck


async def test_a_call_given_up_while_it_waits_is_never_begun() -> None:
    thread = TokenThread()
    release, begun, ran = threading.Event(), threading.Event(), threading.Event()
    stuck = asyncio.ensure_future(thread.run(lambda: (begun.set(), release.wait())))
    await asyncio.to_thread(begun.wait)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await thread.run(ran.set)
    release.set()
    await stuck
    await thread.run(lambda: None)
    assert not ran.is_set()


async def test_ops_14_a_pin_that_the_token_refused_is_not_tried_again(token: pkcs11.Token, made_keys: None) -> None:
    """OPS-14: a token that refuses at run time is `Upstream`, and repeating a refused PIN would lock it."""
    restart_the_token()
    root = await opened("root")
    wrapped = await wrap(root, b"data key", b"place")
    change_pin(token, PIN, "161803")
    with pytest.raises(RootKeyUnreachable, match="SessionHandleInvalid"):
        await unwrap(root, wrapped, b"place")
    with pytest.raises(RootKeyUnreachable, match="refused the PIN"):
        await unwrap(root, wrapped, b"place")
    change_pin(token, "161803", PIN)
    with pytest.raises(RootKeyUnreachable, match="refused the PIN"):
        await unwrap(root, wrapped, b"place")
    assert await unwrap(await opened("root"), wrapped, b"place") == b"data key"


async def test_the_guide_to_an_hsm_makes_a_key_under_which_a_node_starts(
    token: pkcs11.Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart_the_token()
    monkeypatch.setenv("PIN", PIN)
    monkeypatch.delenv("TENANTRY_ROOT_KEY")
    (make,) = re.findall(r"```python\n(.*?)\s*```", GUIDE.read_text(), re.DOTALL)
    (name,) = re.findall(r"```toml\n(.*?)\s*```", GUIDE.read_text(), re.DOTALL)
    assert token.label in make
    exec(textwrap.dedent(make).replace('"root"', '"guided"'), {})  # noqa: S102
    pin = written(tmp_path / "pin", PIN)
    named = textwrap.dedent(name).replace('"root"', '"guided"').replace("/etc/tenantry/pin", str(pin))
    fresh = await deployed(sqlite_database(tmp_path), tmp_path / "state")
    told = to_toml(msgspec.structs.replace(fresh, root_key=RootKeyConfig()))
    config = load(written(tmp_path / "tenantry.toml", f"{told}\n{named}"))
    assert load(written(tmp_path / "again.toml", to_toml(config))) == config
    async with node_of(config) as node:
        key = await node.keyring.data_key(PLATFORM)
    async with node_of(config) as node:
        assert (await node.keyring.data_key(PLATFORM)).reveal() == key.reveal()
        row = (await node.journal.reads(scopes.of_platform()).all(DATA_KEYS_OF))[0]
        assert row.wrapped.startswith(header((await root_key(config)).id))


async def test_ops_14_a_token_that_is_half_named_or_not_alone_or_whose_pin_others_read_starts_nothing(
    made_keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-14: one clear sentence each; the same token, named whole and alone, opens."""
    restart_the_token()
    pin = written(tmp_path / "pin", f"{PIN}\n")
    whole = TokenConfig(module=str(SOFTHSM), token="tenantry", key="root", pin_file=str(pin))

    fresh = configured(sqlite_database(tmp_path), tmp_path / "state")

    async def refused(pkcs11: TokenConfig, match: str) -> None:
        with pytest.raises(Unsafe, match=match):
            await root_key(msgspec.structs.replace(fresh, root_key=RootKeyConfig(pkcs11=pkcs11)))

    await refused(whole, "twice")
    monkeypatch.delenv("TENANTRY_ROOT_KEY")
    await refused(msgspec.structs.replace(whole, key=""), "needs module, token, key and pin_file")
    pin.chmod(0o644)
    await refused(whole, "PIN file .* may be used by others")
    pin.chmod(0o600)
    opened_key = await root_key(msgspec.structs.replace(fresh, root_key=RootKeyConfig(pkcs11=whole)))
    assert opened_key.id == (await opened("root")).id


def test_without_the_extra_the_refusal_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    monkeypatch.delitem(sys.modules, "tenantry.keys.pkcs11")
    with pytest.raises(Unsafe, match=r"tenantry\[hsm\]"):
        importlib.import_module("tenantry.keys.pkcs11")


def make_key(token: pkcs11.Token, label: str, *, bits: int = 256, extractable: bool = False) -> None:
    with token.open(user_pin=PIN, rw=True) as session:
        session.generate_key(
            pkcs11.KeyType.AES,
            bits,
            label=label,
            id=os.urandom(8),
            store=True,
            template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: extractable},
        )


def change_pin(token: pkcs11.Token, old: str, new: str) -> None:
    restart_the_token()
    with token.open(user_pin=old, rw=True) as session:
        session.set_pin(old, new)
    restart_the_token()


def restart_the_token() -> None:
    """As a token that was restarted: every session and log-in of the process is gone."""
    pkcs11.lib(str(SOFTHSM)).reinitialize()


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path
