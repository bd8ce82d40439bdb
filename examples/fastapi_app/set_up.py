"""Sets up the example as an operator: the backend, and a first customer with two services, of which one owns a notebook and one reads it.

It asks the running server by the socket beside the database, and writes what the other programs need to `ids.json` and `ids.env`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tenantry_sdk.jose import encode

ISSUER = sys.argv[1]
console = httpx2.Client(transport=httpx2.HTTPTransport(uds="tenantry.db.sock"), base_url="http://localhost")


def ask(method: str, path: str, body: object = None, entry: str = "") -> Any:
    """One request as the operator; with an entry, inside the organization that was entered."""
    headers = {"Tenantry-Entry": entry} if entry else {}
    answer = console.request(method, path, headers=headers, json=body)
    if answer.is_error:
        sys.exit(f"{method} {path}: {answer.text}")
    return answer.json() if answer.content else None


def service(name: str, entry: str = "") -> dict[str, str]:
    """A service with a key: the private half stays in a file of ours, the public half is registered."""
    made = ask("POST", "/v1/services", {"name": name}, entry)["id"]
    key = ec.generate_private_key(ec.SECP256R1())
    file = Path(f"{name}.pem")
    file.touch(0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": encode(numbers.x.to_bytes(32)), "y": encode(numbers.y.to_bytes(32))}
    kid = ask("POST", f"/v1/workloads/{made}/keys", {"jwk": jwk}, entry)["id"]
    return {"id": made, "kid": kid, "file": str(file)}


# The product: what `tenantry apply notes.yaml` made, and the backend, which may ask in every customer's store and hear of cuts.
application = next(one["id"] for one in ask("GET", "/v1/applications")["items"] if one["name"] == "Notes")
backend = service("backend")
ask("PUT", f"/v1/applications/{application}/roles/checker/holders/{backend['id']}")
ask("PUT", f"/v1/roles/auditor/holders/{backend['id']}")

# A customer. Whoever sets it up enters it, for a reason that its log tells.
begun = ask("POST", "/v1/organizations", {"name": "Acme", "owner": {"email": "alice@acme.example"}})
acme = begun["organization"]["id"]
entry = f"{acme}/{ask('POST', f'/v1/organizations/{acme}/entries', {'reason': 'set up Notes'})['id']}"
store = ask("POST", f"/v1/applications/{application}/stores", {"name": "Notes"}, entry)["id"]
writer, reader = service("writer", entry), service("reader", entry)

# Who may do what there: two services, and the person who owns Acme.
given = (
    ("notebook:plans", "notebook", "note:launch"),
    (f"user:{begun['owner_id']}", "owner", "notebook:plans"),
    (f"service:{writer['id']}", "owner", "notebook:plans"),
    (f"service:{reader['id']}", "reader", "notebook:plans"),
)
tuples = [{"user": user, "relation": relation, "object": object_} for user, relation, object_ in given]
ask("POST", f"/stores/{store.removeprefix('store_')}/write", {"writes": {"tuple_keys": tuples}}, entry)

ids = {"issuer": ISSUER, "store": {acme: store}, "backend": backend, "writer": writer, "reader": reader}
Path("ids.json").write_text(json.dumps(ids))
named = {"ACME": acme, "STORE": store, "ALICE": begun["owner_id"], "WRITER": writer["id"], "READER": reader["id"]}
Path("ids.env").write_text("".join(f"{name}={value}\n" for name, value in named.items()))
print(f"Acme is {acme}; its store is {store}.")
