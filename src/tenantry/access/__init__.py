"""The authorization engine: who has which relation to what, decided at one revision over tuples that are stored.

The heart is pure: the language (`language`, `printing`, `wire`), the model and its `plan`, the `graph`, and the questions (`check`,
`lists`, `expand`, `explain`). Around it: `schema` and `writing` (tuples in the database), `graphs` (they follow the changelog),
`decisions` (the one entry), `system` (the store of Tenantry's own questions) and `routes` (OpenFGA's HTTP API). Other rooms need
`system` and `decisions`.
"""
