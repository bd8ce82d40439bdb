"""Whether a tuple's condition is met: the one place that knows CEL, which is loaded only when a model has conditions.

The evaluator cannot be interrupted, so that what an evaluation could cost is bounded before it begins: by the words of the
expression, its macros, and the size of the context (`_Cost`). It answers with objects that are true even where they stand
for `false`, and with errors as values: only `True` and `False` themselves are taken for an answer.
"""

import importlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tenantry.access.errors import ConditionFailed, ConditionsNotSupported, Fault, InvalidModel, LimitExceeded
from tenantry.access.limits import CONDITION_MAX_COST, CONTEXT_MAX_BYTES
from tenantry.access.model import Condition, Parameter
from tenantry.access.parameters import address, in_cidr, read_value
from tenantry.access.tuples import RelationshipCondition

if TYPE_CHECKING:
    from cel_expr_python import cel

_WORDS = re.compile(
    r"""[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|[A-Za-z_]\w*|[\d.]*\d[\w.]*|\S""",
    re.DOTALL,
)
_MACROS = {"all", "exists", "exists_one", "existsOne", "map", "filter"}


class Conditions:
    """The conditions of a model, compiled.

    Raises:
        ConditionsNotSupported: there are some, and the extra is not installed.
        InvalidModel: an expression is wrong, or says something else than yes or no.
    """

    def __init__(self, conditions: Iterable[Condition]) -> None:
        listed = tuple(conditions)
        self._programs: dict[str, _Program] = {}
        if listed:
            try:
                module = importlib.import_module("cel_expr_python.cel")
            except ModuleNotFoundError as error:
                raise ConditionsNotSupported(tuple(condition.name for condition in listed)) from error
            self._programs = {condition.name: _Program(module, condition) for condition in listed}

    def met(self, given: RelationshipCondition, context: Mapping[str, object], context_bytes: int) -> bool:
        """Whether the condition is met; what the tuple says prevails over the question's context.

        Raises:
            ConditionFailed: a parameter is missing or of another type, it would cost too much, or CEL has no answer.
        """
        try:
            both = {**context, **given.values()}
            return self._programs[given.name].evaluate(both, context_bytes + len(given.context))
        except ValueError as error:
            message = f"failed to evaluate relationship condition '{given.name}': {error}"
            raise ConditionFailed(message) from error


class Circumstances:
    """The context of one question, and what its conditions came to: each is evaluated once, when it first matters.

    Raises:
        LimitExceeded: the context is larger than a question's may be.
    """

    __slots__ = ("_bytes", "_conditions", "_context", "_found", "_left")

    def __init__(self, conditions: Conditions, context: Mapping[str, object] | None = None) -> None:
        self._conditions = conditions
        self._context = context or {}
        self._bytes = len(encoded(context)) if context else 0
        if self._bytes > CONTEXT_MAX_BYTES:
            raise LimitExceeded(f"A context may have {CONTEXT_MAX_BYTES} bytes; this one has {self._bytes}.")
        self._found: dict[RelationshipCondition, bool | ConditionFailed] = {}
        self._left = math.inf

    def limit(self, most: int) -> None:
        """Evaluate at most so many from here on; of a further one is said that it cannot be decided."""
        self._left = most

    def weigh(self, given: RelationshipCondition) -> bool | ConditionFailed:
        """Whether the condition is met, or why that cannot be decided."""
        found = self._found.get(given)
        if found is None:
            if self._left <= 0:
                return ConditionFailed(
                    "More conditions than one decision may evaluate would have to be (cost_exceeded)."
                )
            self._left -= 1
            try:
                found = self._conditions.met(given, self._context, self._bytes)
            except ConditionFailed as error:
                found = error
            self._found[given] = found
        return found


def encoded(context: Mapping[str, object]) -> bytes:
    """A context in one form, whatever the order of its names.

    Raises:
        LimitExceeded: it lies too deep.
    """
    try:
        return msgspec.json.encode(context, order="sorted")
    except RecursionError as error:
        raise LimitExceeded("The context lies too deep.") from error


class _Program:
    """One condition, compiled. A fault is told by CEL's own words, which name line and column of the expression."""

    def __init__(self, module: Any, condition: Condition) -> None:
        self.parameters = condition.parameters
        self.cost = _Cost(condition.expression)
        try:
            environment: cel.Env = module.NewEnv(
                variables={p.name: _type(module.Type, p) for p in condition.parameters}, functions=_functions(module)
            )
            self.expression = environment.compile(condition.expression)
        except (RuntimeError, UnicodeError) as error:
            raise _wrong(condition, str(error)) from error
        if self.expression.return_type() != module.Type.BOOL:
            raise _wrong(condition, f"expected a bool, but it gives {self.expression.return_type().name()}")

    def evaluate(self, context: Mapping[str, object], context_bytes: int) -> bool:
        """Raises ValueError for whatever keeps it from an answer."""
        missing = [p.name for p in self.parameters if p.name not in context]
        if missing:
            raise ValueError(f"the context lacks {', '.join(missing)}")
        values = {p.name: _value(p, context[p.name]) for p in self.parameters}
        self.cost.check(values, context_bytes)
        try:
            answer = self.expression.eval(data=values).value()
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        if answer is True or answer is False:
            return answer
        raise ValueError(str(answer))


def _wrong(condition: Condition, why: str) -> InvalidModel:
    message = f"failed to compile expression on condition '{condition.name}' - {why}"
    return InvalidModel(Fault("invalid-condition", message))


def _value(parameter: Parameter, value: object) -> object:
    try:
        return read_value(parameter, value)
    except ValueError as error:
        raise ValueError(f"failed to convert context parameter '{parameter.name}': {error}") from error


def _type(types: type["cel.Type"], parameter: Parameter) -> "cel.Type":
    scalars = {
        "bool": types.BOOL,
        "string": types.STRING,
        "int": types.INT,
        "uint": types.UINT,
        "double": types.DOUBLE,
        "duration": types.DURATION,
        "timestamp": types.TIMESTAMP,
        # Only built-in types can be passed in. No parameter is of bytes otherwise, so that as with OpenFGA an address
        # compares to addresses alone.
        "ipaddress": types.BYTES,
        "any": types.DYN,
    }
    match parameter.type:
        case "list":
            return types.List(scalars[parameter.item])
        case "map":
            return types.Map(types.STRING, scalars[parameter.item])
        case scalar:
            return scalars[scalar]


def _functions(module: Any) -> list["cel.FunctionDecl"]:
    """OpenFGA's own functions: `ip.in_cidr("10.0.0.0/8")` and `ipaddress("10.0.0.1")`."""
    types = module.Type
    within = module.Overload("ipaddr_in_cidr", types.BOOL, [types.BYTES, types.STRING], is_member=True, impl=in_cidr)
    read = module.Overload("string_to_ipaddress", types.BYTES, [types.STRING], is_member=False, impl=address)
    return [module.FunctionDecl("in_cidr", [within]), module.FunctionDecl("ipaddress", [read])]


class _Cost:
    """What evaluating an expression could cost, for a context of a size.

    Without a macro each word is looked at once. Each macro (`list.exists(x, ...)`) may run what is in it for every item of the
    longest list, and what it makes may be larger than what it is made of by as many times as there are joints (`+` and `,`):
    each later macro may see that growth again. A word may read all there is; a regular expression, all of it for each of
    its own states.
    """

    def __init__(self, expression: str) -> None:
        words = _WORDS.findall(expression)
        self.words = len(words)
        self.bytes = len(expression)
        self.macros = sum(word in _MACROS for word in words)
        joints = words.count("+") + words.count(",")
        self.literals = joints + 1
        self.growth = 1 + max(0, joints - self.macros)
        self.weight = 4_096 if "matches" in words else 1

    def check(self, values: Mapping[str, object], context_bytes: int) -> None:
        """Raises ValueError if it could cost more than one evaluation may."""
        items = max(_longest(values), self.literals) if self.macros else 1
        runs = items**self.macros * self.growth ** (self.macros * (self.macros + 1) // 2)
        read = 1 + (self.bytes + context_bytes) * self.growth * self.weight // 64
        if self.words * runs * read > CONDITION_MAX_COST:
            raise ValueError("evaluating it could cost more than the limit allows (cost_exceeded)")


def _longest(value: object) -> int:
    """The length of the longest list or map in a value."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return max(len(inner), max(map(_longest, inner), default=0))
