"""How much one model, request or decision may hold. OpenFGA's own limits where it has one."""

MODEL_MAX_BYTES = 262_144
"""A model as text, in either form (OpenFGA: 256 KiB)."""

MODEL_MAX_TYPES = 100
TYPE_NAME_MAX_CHARACTERS = 254
RELATION_NAME_MAX_CHARACTERS = 50
CONDITION_NAME_MAX_CHARACTERS = 50

MODEL_MAX_CONDITIONS = 25
CONDITION_MAX_PARAMETERS = 25
CONDITION_MAX_BYTES = 512
"""A condition's expression (OpenFGA: 512)."""

CONDITION_CONTEXT_MAX_BYTES = 32_768
"""The context that a tuple carries for its condition, as JSON (OpenFGA: 32 KiB)."""

CONTEXT_MAX_BYTES = 65_536
"""The context of a question, as JSON."""

CONDITION_MAX_COST = 500_000
"""What one evaluation may cost at the most, in units of at most 0.2 microseconds; OpenFGA's own limit is far below it."""

DECISION_MAX_EVALUATIONS = 500
"""How many conditions one decision may evaluate: an evaluation holds up everybody on the node for up to a millisecond."""

REWRITE_MAX_DEPTH = 25
"""Parentheses within parentheses of one definition."""

TYPES_MAX = 65_535
"""Different type names of one application: a type is 16 bits of a node's number."""

RELATIONS_MAX = 65_534
"""Different relation names of one application: a relation is 16 bits of a node's number."""

OBJECT_MAX_BYTES = 256
"""`type:id` (OpenFGA: 256)."""

SUBJECT_MAX_BYTES = 512
"""`type:id` or `type:id#relation` (OpenFGA: 512)."""

CONTEXTUAL_MAX_TUPLES = 100

HOPS_MAX = 25
"""How many objects lie between a question's object and the farthest that is looked at; computed relations are no hop."""

DECISION_MAX_NODES = 100_000
"""How many pairs of object and relation one decision may visit when its graph has cycles or is deeper than the limit."""

BATCH_MAX_CHECKS = 50
"""Questions of one batch (OpenFGA: 50)."""

BATCH_MAX_S = 0.5
"""How long one batch may be decided, in seconds of the processor, for nothing else is answered meanwhile; what is left has no answer."""

LIST_MAX = 1_000
"""What one list may hold; a longer one is an error (OpenFGA: 1,000)."""

EXPAND_MAX_USERS = 10_000
"""How many subjects the one level of `expand` may hold; more is an error."""

TRACE_MAX_STEPS = 200
"""How many steps an explanation shows; it says how many it leaves out."""

MISSING_MAX = 20
"""How many ways to a yes an explanation names."""

CEILING_MAX_ALLOWANCES = 100
CEILING_MAX_OBJECTS = 1_000
"""How many ids all allowances of one ceiling may name together."""
