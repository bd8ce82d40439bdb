"""The credential tree: kinds and parents, sessions, grants, runs; access tokens; what has ended, proved by receipts and told by the feed.

Start with `tree`, the table of what descends from what. `tokens` makes and verifies access tokens; `branches` keeps sessions, grants
and runs.
"""
