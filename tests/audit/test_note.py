"""Signed notes and checkpoints: the worked example of their specification, and every way to be refused."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenantry.audit.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from tenantry.audit.merkle import empty_root
from tenantry.audit.note import Signer, Verifier, open_note, parse_vkey, sign
from tenantry.audit.proof import ProofFailed

ORIGIN = "id.example/audit/org_01JDB1V7E8F9G0H1J2K3M4N5P6"
TEXT = "A text.\n\nWith a blank line.\n"


def signer(name: str = ORIGIN) -> Signer:
    key = Ed25519PrivateKey.generate()
    return Signer(name, key.public_key().public_bytes_raw(), key.sign)


def verifier(of: Signer) -> Verifier:
    return Verifier(of.name, of.public_key)


def test_a_note_opens_for_those_who_know_a_key_and_for_nobody_else() -> None:
    known, other = signer(), signer()
    note = sign(TEXT, [known])
    opened = open_note(note, [verifier(other), parse_vkey(verifier(known).vkey)])
    assert (opened.text, opened.signed_by) == (TEXT, (verifier(known),))
    with pytest.raises(ProofFailed, match="no known key"):
        open_note(note, [verifier(other)])


def test_sixteen_signatures_are_taken_and_unknown_ones_ignored() -> None:
    known = signer()
    note = sign(TEXT, [*(signer(f"witness.example/{n}") for n in range(14)), signer(), known])
    assert open_note(note, [verifier(known)]).signed_by == (verifier(known),)


def test_a_known_key_that_fails_refuses_a_note_that_another_known_key_signed() -> None:
    good, bad = signer(), signer("witness.example")
    note = sign(TEXT, [good, Signer(bad.name, bad.public_key, lambda _: bytes(64))])
    assert open_note(note, [verifier(good)])
    with pytest.raises(ProofFailed, match="fails") as failed:
        open_note(note, [verifier(good), verifier(bad)])
    assert failed.value.kind == "checkpoint_signature"


def test_a_changed_text_is_refused() -> None:
    known = signer()
    note = sign(TEXT, [known])
    assert open_note(note, [verifier(known)])
    with pytest.raises(ProofFailed, match="fails"):
        open_note(note.replace(b"A text", b"B text"), [verifier(known)])


Damage = Callable[[bytes], bytes]
DAMAGE: dict[str, Damage] = {
    "cut": lambda note: note[:-1],
    "a line more": lambda note: note + b"\n",
    "no blank line": lambda note: note.replace(b"\n\n\xe2", b"\n\xe2"),
    "another dash": lambda note: note.replace("\u2014 ".encode(), b"- "),
    "no padding": lambda note: note.replace(b"=\n", b"\n"),
    "a control character": lambda note: note.replace(b"A text", b"A\ttext"),
    "not UTF-8": lambda note: note.replace(b"A text", b"A\xfftext"),
    "a plus in a name": lambda note: note + "\u2014 a+b AAAAAAA=\n".encode(),
    "a short signature": lambda note: note + "\u2014 name AAAA\n".encode(),
    "base64 spelled otherwise": lambda note: note + "\u2014 name QUFBQUF==\n".encode(),
    "nothing": lambda _: b"",
    "a hundred and one signatures": lambda note: note + "\u2014 name AAAAAAA=\n".encode() * 100,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_a_note_is_refused(name: str) -> None:
    known = signer()
    note = sign("A text.\n", [known])
    assert open_note(note, [verifier(known)])
    with pytest.raises(ProofFailed, match="malformed"):
        open_note(DAMAGE[name](note), [verifier(known)])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb"])
def test_what_cannot_name_a_key_does_not_sign(name: str) -> None:
    with pytest.raises(ValueError, match="not a key name"):
        sign(TEXT, [signer(name)])


def test_a_verifier_key_of_another_id_or_type_is_refused() -> None:
    vkey = verifier(signer()).vkey
    name, key_id, key = vkey.split("+", 2)
    assert parse_vkey(vkey).vkey == vkey
    cosigner = base64.b64encode(b"\x04" + base64.b64decode(key)[1:]).decode()
    for other in (f"{name}+00000000+{key}", f"other+{key_id}+{key}", f"{name}+{key_id}+{cosigner}", name, ""):
        with pytest.raises(ProofFailed, match="malformed"):
            parse_vkey(other)


def test_the_checkpoint_of_the_specification_reads_as_it_says() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == text


ROOT = base64.b64encode(empty_root()).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"\n1\n{ROOT}\n",
        f"o\n1\n{ROOT}\nextension\n",
        f"o\n1\n{ROOT}",
        "o\n1\n",
        f"o\n1\n{ROOT[:-2]}V=\n",
        f"o\n\u0661\n{ROOT}\n",
        f"o\n1\n{ROOT[:-4]}\n",
    ],
)
def test_another_spelling_is_no_checkpoint(text: str) -> None:
    assert parse_checkpoint(f"o\n1\n{ROOT}\n").size == 1
    with pytest.raises(ProofFailed, match="malformed"):
        parse_checkpoint(text)


def test_only_a_key_named_as_the_log_signs_its_checkpoint() -> None:
    own, other = signer(), signer("id.example/audit/org_01JDB1V7E8F9G0H1J2K3M4N5P7")
    checkpoint = Checkpoint(ORIGIN, 0, empty_root())
    assert open_checkpoint(sign_checkpoint(checkpoint, [own]), [verifier(own)])[0] == checkpoint
    with pytest.raises(ValueError, match="only a key named"):
        sign_checkpoint(checkpoint, [other])
    with pytest.raises(ProofFailed, match="no key of"):
        open_checkpoint(sign(checkpoint.text(), [other]), [verifier(own), verifier(other)])
