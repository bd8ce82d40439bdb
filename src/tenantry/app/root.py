"""The root key, from the one place where the configuration says it is."""

import os
from pathlib import Path

from tenantry.app.config import Config
from tenantry.core.errors import Unsafe
from tenantry.keys.root import ENVIRONMENT, RootKey, local_root_key, read_private


async def root_key(config: Config) -> RootKey:
    """The root key of this deployment.

    Raises:
        Unsafe: it is nowhere, in two places, readable by others, or no key; a token is not fully named, or has no such key.
        RootKeyUnreachable: the token does not answer.
    """
    file = Path(config.root_key.file) if config.root_key.file else None
    token = config.root_key.pkcs11
    if not any((token.module, token.token, token.key, token.pin_file)):
        return local_root_key(file, os.environ)
    if file is not None or ENVIRONMENT in os.environ:
        raise Unsafe("The root key is configured twice: in a token and elsewhere.", hint="Keep exactly one of them.")
    if not all((token.module, token.token, token.key, token.pin_file)):
        raise Unsafe("A root key in a token needs module, token, key and pin_file.", hint="Complete [root_key.pkcs11].")
    from tenantry.keys.pkcs11 import Pkcs11RootKey  # noqa: PLC0415 - it needs the extra `hsm`

    pin = read_private(Path(token.pin_file), "PIN").strip()
    return await Pkcs11RootKey.open(Path(token.module), token=token.token, key=token.key, pin=pin)
