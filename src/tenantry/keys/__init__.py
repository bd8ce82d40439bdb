"""Keys: what signs, what encrypts, and what stands at the root of both.

Begin with `signing` (keys that sign for one purpose, issuer and owner) and `rotation` (when each is published, signs
and goes away), or with `envelope` (a value sealed under its tenant's data key, bound to the place where it lies).
`root` and `pkcs11` wrap data keys; `unwrapped` keeps those for a bounded time while the root key cannot be reached.
"""
