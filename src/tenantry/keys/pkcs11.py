"""A root key in a PKCS #11 token (an HSM, a network HSM's library, SoftHSM), which wraps with AES-GCM inside the token.

Needs the extra `hsm` (python-pkcs11): import this module only where a token is configured. The key is a 256-bit AES key
that the token holds as sensitive and not extractable; any other is refused. The token offers `CKM_AES_GCM` and takes
the nonce from us.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tenantry.core.errors import Unsafe
from tenantry.keys import aead
from tenantry.keys.aead import Damaged
from tenantry.keys.root import DEADLINE_MS, RootKeyUnreachable, WrongRootKey, body_of, header

try:
    import pkcs11
except ImportError:
    raise Unsafe("A root key in a token needs python-pkcs11.", hint="Install tenantry[hsm].") from None

QUEUE_MAX = 64
"""Calls that wait for the token; more are refused at once."""

_PROBE = b"tenantry probe"
_SET_UP_ERRORS = (
    pkcs11.NoSuchToken,
    pkcs11.MultipleTokensReturned,
    pkcs11.NoSuchKey,
    pkcs11.MultipleObjectsReturned,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinExpired,
    pkcs11.PinLocked,
)

T = TypeVar("T")


class TokenKey(Protocol):
    """A key in a token that encrypts and decrypts there: python-pkcs11 mixes both in as the token allows."""

    def encrypt(self, data: bytes, **mechanism: Any) -> bytes | Iterator[bytes]: ...

    def decrypt(self, data: bytes, **mechanism: Any) -> bytes | Iterator[bytes]: ...


class TokenThread:
    """The one thread that speaks to a token: a PKCS #11 session is not to be shared, and its calls block.

    Daemonic, so that a token which never answers does not hold up the end of the process.
    """

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue(QUEUE_MAX)
        threading.Thread(target=self._work, name="tenantry-pkcs11", daemon=True).start()

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises; cancelled while it waits, it is never begun.

        Raises:
            RootKeyUnreachable: `QUEUE_MAX` calls wait already.
        """
        answer: Future[T] = Future()

        def answered() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                result = call()
            # Whatever it is belongs to whoever awaits the answer; here it would end the thread for all.
            except BaseException as error:  # noqa: BLE001
                answer.set_exception(error)
            else:
                answer.set_result(result)

        try:
            self._calls.put_nowait(answered)
        except queue.Full:
            raise RootKeyUnreachable("Too many calls wait for the token that keeps the root key.") from None
        return await asyncio.wrap_future(answer)

    def _work(self) -> None:
        while True:
            self._calls.get()()


class Pkcs11RootKey:
    """A root key that never leaves its token. Made by `open`."""

    def __init__(self, module: Path, token: str, key: str, pin: str) -> None:
        self._module = module
        self._token = token
        self._label = key
        self._pin = pin
        self._thread = TokenThread()
        self._session: pkcs11.Session | None = None  # this and the next two belong to the thread
        self._key: TokenKey | None = None
        self._pin_refused = False
        self.id = ""

    @classmethod
    async def open(
        cls, module: Path, *, token: str, key: str, pin: str, deadline_ms: int = DEADLINE_MS
    ) -> "Pkcs11RootKey":
        """The key labelled `key` in the token labelled `token`, through the PKCS #11 library at `module`.

        Raises:
            Unsafe: no such library, token, key or PIN; the key can leave the token; or the token has no AES-GCM.
            RootKeyUnreachable: the token does not answer.
        """
        made = cls(module, token, key, pin)
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                await made._thread.run(made._connected)
        except TimeoutError:
            raise RootKeyUnreachable(f"The token {token!r} did not answer within {deadline_ms} ms.") from None
        return made

    async def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        lead = header(self.id)
        return lead + await self._thread.run(lambda: self._asked(lambda key: _encrypt(key, plaintext, lead + aad)))

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        body = body_of(wrapped, self.id)
        if len(body) < aead.OVERHEAD_BYTES:
            raise Damaged("A wrapped value was cut short.")
        return await self._thread.run(lambda: self._asked(lambda key: _decrypt(key, body, header(self.id) + aad)))

    def __repr__(self) -> str:
        return f"Pkcs11RootKey({self.id!r})"

    def _asked(self, question: Callable[[TokenKey], bytes]) -> bytes:
        key = self._connected()
        try:
            return question(key)
        except pkcs11.PKCS11Error as error:
            self._disconnect()  # the next call begins afresh: a session that failed is not trusted again
            raise RootKeyUnreachable(f"The token {self._token!r} refused: {type(error).__name__}.") from None

    def _connected(self) -> TokenKey:
        if self._key is not None:
            return self._key
        if self._pin_refused:  # asking again and again would lock the token
            raise self._unusable("it refused the PIN, which is not tried again before a restart")
        try:
            self._session = self._log_in()
            key = self._key = self._checked(self._session)
        except pkcs11.PinIncorrect:
            self._pin_refused = True
            raise self._unusable("it refused the PIN") from None
        except _SET_UP_ERRORS as error:
            raise self._unusable(f"{type(error).__name__} {error}".strip()) from None
        except pkcs11.PKCS11Error as error:
            raise RootKeyUnreachable(f"The token {self._token!r} cannot be reached: {type(error).__name__}.") from None
        finally:
            if self._key is None:
                self._disconnect()
        return key

    def _unusable(self, why: str) -> Unsafe | RootKeyUnreachable:
        """At first a wrong set-up, which stops the start; later a token that went away, while kept data keys serve on."""
        message = f"The token {self._token!r} cannot be used: {why}."
        hint = "Check the token's label, the key's label and the PIN."
        return RootKeyUnreachable(message, hint=hint) if self.id else Unsafe(message, hint=hint)

    def _log_in(self) -> pkcs11.Session:
        if not self._module.is_file():
            raise self._unusable(f"there is no PKCS #11 library at {self._module}")
        token = pkcs11.lib(str(self._module)).get_token(token_label=self._token)
        if pkcs11.Mechanism.AES_GCM not in token.slot.get_mechanisms():
            raise Unsafe(f"The token {self._token!r} does not offer AES-GCM.", hint="Use a token with CKM_AES_GCM.")
        try:
            return token.open(user_pin=self._pin)
        except pkcs11.UserAlreadyLoggedIn:  # the log-in is the process's, and another session holds it
            return token.open()

    def _checked(self, session: pkcs11.Session) -> TokenKey:
        key = session.get_key(
            object_class=pkcs11.ObjectClass.SECRET_KEY, key_type=pkcs11.KeyType.AES, label=self._label
        )
        if not isinstance(key, pkcs11.EncryptMixin) or not isinstance(key, pkcs11.DecryptMixin):
            raise Unsafe(f"The key {self._label!r} may not encrypt and decrypt.", hint="Make one as the guide says.")
        if not isinstance(key, pkcs11.SecretKey) or not key.id:
            raise Unsafe(f"The key {self._label!r} has no CKA_ID to be named by.", hint="Make one as the guide says.")
        if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
            raise Unsafe(f"The key {self._label!r} can leave its token.", hint="Make one as the guide says.")
        if key[pkcs11.Attribute.VALUE_LEN] != aead.KEY_BYTES:
            raise Unsafe(f"The key {self._label!r} is not a 256-bit key.", hint="Make one as the guide says.")
        name = f"pkcs11:{self._label}:{key.id.hex()}"
        if self.id and name != self.id:
            raise WrongRootKey(f"The token now holds root key {name!r} in place of {self.id!r}.")
        self.id = name
        return key

    def _disconnect(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            try:
                session.close()
            except pkcs11.PKCS11Error:
                return  # it was lost already, which is why it is dropped


def _encrypt(key: TokenKey, plaintext: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(aead.NONCE_BYTES)
    mechanism = {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": _parameters(nonce, aad)}
    return nonce + _whole(key.encrypt(plaintext, **mechanism))


def _decrypt(key: TokenKey, body: bytes, aad: bytes) -> bytes:
    try:
        return _decrypt_unjudged(key, body, aad)
    except pkcs11.PKCS11Error:
        # Tokens answer a wrong tag with codes of their own choice (SoftHSM: CKR_GENERAL_ERROR). One that opens what it
        # has just sealed is well, so the fault lies in the value; one that does not raises here: it is unreachable.
        _decrypt_unjudged(key, _encrypt(key, _PROBE, b""), b"")
        raise Damaged("A wrapped value does not open: it was changed, moved, or wrapped by another key.") from None


def _decrypt_unjudged(key: TokenKey, body: bytes, aad: bytes) -> bytes:
    nonce, sealed = body[: aead.NONCE_BYTES], body[aead.NONCE_BYTES :]
    mechanism = {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": _parameters(nonce, aad)}
    return _whole(key.decrypt(sealed, **mechanism))


def _whole(answer: bytes | Iterator[bytes]) -> bytes:
    return answer if isinstance(answer, bytes) else b"".join(answer)


def _parameters(nonce: bytes, aad: bytes) -> pkcs11.GCMParams:
    return pkcs11.GCMParams(nonce, aad, 8 * aead.TAG_BYTES)
