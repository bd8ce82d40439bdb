"""The authorization server: how a client proves itself, what it is given, and how both are found out.

Start with `routes`: the token endpoint, the metadata and the keys. `dpop` and `once` are also for whoever takes a bound token.
"""
