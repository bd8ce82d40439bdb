"""Secrets name their organization, show themselves by one method alone, and are stored as a hash."""

import hashlib
import re
from collections.abc import Callable

import pytest

from tenantry.core.errors import NotFound
from tenantry.core.secrets import Secret

ORG = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"


def test_a_secret_has_the_shape_that_scanners_look_for() -> None:
    assert re.fullmatch(rf"tnk_{ORG[4:]}_[A-Za-z0-9_-]{{43}}", Secret.issue(ORG).reveal())


def test_a_secret_names_its_organization() -> None:
    assert Secret(Secret.issue(ORG).reveal()).organization() == ORG


def test_no_two_secrets_are_alike() -> None:
    assert len({Secret.issue(ORG).reveal() for _ in range(100)}) == 100


def test_only_reveal_shows_a_secret() -> None:
    secret = Secret.issue(ORG)
    told = (repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{secret!r:>80}")
    assert not any(secret.reveal()[-20:] in text or ORG[4:] in text for text in told)
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_known_by_the_hash_of_its_text() -> None:
    secret = Secret.issue(ORG)
    assert secret.digest() == hashlib.sha256(secret.reveal().encode()).digest()
    assert secret == Secret(secret.reveal())
    assert secret != Secret.issue(ORG)
    assert secret != secret.reveal()


SPOILED: dict[str, Callable[[str], str]] = {
    "longer": lambda text: text + "A",
    "shorter": lambda text: text[:-1],
    "lower case": lambda text: text.lower(),
    "a space before": lambda text: " " + text,
    "a line after": lambda text: text + "\n",
    "beyond 128 bits": lambda text: text.replace("tnk_0", "tnk_8"),
    "a letter for a digit": lambda text: text.replace("tnk_0", "tnk_O"),
    "another prefix": lambda text: "xnk" + text[3:],
    "nothing": lambda _: "",
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_text_of_another_shape_names_nobody(how: str) -> None:
    with pytest.raises(NotFound):
        Secret(SPOILED[how](Secret.issue(ORG).reveal())).organization()
