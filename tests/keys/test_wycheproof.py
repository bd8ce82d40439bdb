"""Project Wycheproof's vectors through our own verification and decryption (tests/data/wycheproof)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenantry.core.errors import ProofFailed
from tenantry.keys import aead
from tenantry.keys.signing import Algorithm, verify_raw

VECTORS = Path(__file__).parent.parent / "data" / "wycheproof"

SIGNATURES = {
    "ecdsa_secp256r1_sha256_p1363_test.json": (Algorithm.ES256, 262),
    "ed25519_test.json": (Algorithm.EDDSA, 151),
    "rsa_signature_2048_sha256_test.json": (Algorithm.RS256, 259),
}


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    document = msgspec.json.decode((VECTORS / name).read_bytes())
    for group in document["testGroups"]:
        for case in group["tests"]:
            yield group, case


def signature_holds(algorithm: Algorithm, group: dict[str, Any], case: dict[str, Any]) -> bool:
    spki = bytes.fromhex(group["publicKeyDer"])
    try:
        verify_raw(algorithm, spki, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
    except ProofFailed:
        return False
    return True


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_hold_exactly_where_wycheproof_says_they_are_valid(name: str) -> None:
    algorithm, count = SIGNATURES[name]
    judged = [
        (case["tcId"], case["comment"])
        for group, case in cases(name)
        if case["result"] != "acceptable" and signature_holds(algorithm, group, case) != (case["result"] == "valid")
    ]
    assert judged == []
    assert sum(1 for _ in cases(name)) == count


def opened(case: dict[str, Any]) -> bytes | None:
    sealed = bytes.fromhex(case["iv"] + case["ct"] + case["tag"])
    try:
        return aead.decrypt(bytes.fromhex(case["key"]), sealed, bytes.fromhex(case["aad"]))
    except aead.Damaged:
        return None


def test_ciphertexts_open_exactly_where_wycheproof_says_they_are_valid() -> None:
    ours = [
        case
        for group, case in cases("aes_gcm_test.json")
        if (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128)
    ]
    assert len(ours) == 66
    for case in ours:
        expected = bytes.fromhex(case["msg"]) if case["result"] == "valid" else None
        assert opened(case) == expected, case["comment"]
