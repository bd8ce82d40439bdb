"""Limits that more than one room obeys. Each carries its unit in its name; those that depend on each other are computed."""

LEAF_MAX_BYTES = 65_535
"""A tile's entries carry a uint16 length (C2SP tlog-tiles)."""

REVISION_BYTES = 8
EVENT_MAX_BYTES = LEAF_MAX_BYTES - REVISION_BYTES

TEXT_MAX_CHARACTERS = 1_024
"""A text from outside that an event keeps; longer ones are cut and marked."""

NAME_MAX_CHARACTERS = 256
"""What names an actor, a target or a branch; longer ones would not fit an index."""

VALUE_MAX = 1_048_576
"""Characters or bytes of one value of a row."""

SET_MAX_STATEMENTS = 256
SET_MAX_EVENTS = 256
SET_MAX_CUTS = 256
SET_MAX_TOUCHED = 1_024

QUEUE_MAX_SETS = 8_192
"""Write sets that wait on one node; more are refused with `Throttled`."""

LEASE_MS = 700
"""How long a node or SDK may say yes after the start of the last successful read of the changelog."""

POLL_MS = 100
"""How often the changelog is read when no wake-up comes."""

CLOCK_SKEW_MS = 5_000
"""How far a node's clock may be from the database's before the node is not ready."""

CHECKPOINT_EVERY_MS = 500
"""How often the sequencer looks for leaves that are not yet under a checkpoint; the promise is one second."""

ACT_DEPTH = 5
PATH_MAX_IDS = 32
PAGE_ROWS = 1_000
"""Rows in one step of whatever is unbounded (exports, loads, rebuilds)."""
