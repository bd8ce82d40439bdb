"""What was secret in a run of the whole server is found in none of the places that others read."""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tests.stand.assembled import Home, House
from tests.stand.living import asked, living


def spellings(secret: str) -> Iterator[bytes]:
    """Plain, base64 of each kind, hex, and as a URL has it."""
    raw = secret.encode()
    yield from (raw, base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"="))
    yield from (binascii.hexlify(raw), quote(secret).encode())


async def test_sup_01_no_secret_of_a_run_is_found_in_log_database_or_audit(house: House, acme: Home) -> None:
    """SUP-01: secrets, tokens, proofs of keys, the root key: not in the server's log, its metrics, the database's files, the events."""
    credentials = await living(acme)
    for one in credentials.values():
        assert (await asked(house, one)).status_code == 200
    now_ms = house.node.clock.now_ms()
    invited = await acme.made("POST", "/v1/invitations", {"email": "y@acme.example", "ends_at_ms": now_ms + 60_000})
    secrets = {acme.have["admin_secret"], acme.admin["Authorization"].removeprefix("Bearer "), invited["secret"]}
    for credential in credentials.values():
        secrets.add(credential.token)
        if credential.pair is not None:
            secrets.add(str(credential.pair.key.as_dict(private=True)["d"]))
    secrets |= {bytes(range(32)).hex(), base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")}
    house.server.log()
    file = Path(house.config.database.file)
    places = {
        "log": house.server.said.getvalue().encode(),
        "metrics": (await house.console.get("/metrics")).content,
        "events": str(await acme.tenant.events()).encode(),
        **{one.name: one.read_bytes() for one in file.parent.iterdir() if one.is_file()},
    }
    assert len(places["log"]) > 10_000
    assert acme.org.encode() in b"".join(place for name, place in places.items() if name.startswith(file.name))
    found = [
        (name, secret[:6])
        for name, place in places.items()
        for secret in secrets
        for spelled in spellings(secret)
        if spelled in place
    ]
    assert found == []
