"""OpenFGA's modelling language (schema 1.1, and 1.2 with its modules), read into `model.Model`.

A recursive descent over the text itself: the language has no lookahead worth a token stream. The first error of syntax
ends the reading; faults of meaning are `validation`'s, which asks the `Places` kept here for line and column.
The grammar is OpenFGA's (openfga/language, OpenFGAParser.g4), and `any` for a parameter, which there only the JSON form
can say. `printing` is the way back.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping

import msgspec

from tenantry.access.errors import Fault, InvalidModel, LimitExceeded
from tenantry.access.limits import MODEL_MAX_BYTES, REWRITE_MAX_DEPTH
from tenantry.access.model import (
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Parameter,
    Relation,
    Restriction,
    Rewrite,
    Source,
    Through,
    Type,
    Union,
)
from tenantry.access.parameters import CONTAINERS, TYPES

_RESERVED = {"and", "or", "from", "relations", "define", "with", "condition", "in", "true", "false", "null"}
_WORD = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_-]|[./](?=[A-Za-z0-9_]))*")
_VERSION = re.compile(r"\d+\.\d+")
_BLANK = re.compile(r"[ \t\f]*")
_BREAK = re.compile(r"\s*")
_STRING = re.compile(r"'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)


class Span(msgspec.Struct, frozen=True):
    """Where something is written; line and columns count from one, `end` is the column after its last character."""

    line: int
    column: int
    end: int
    file: str = ""


class Places:
    """Where each part of a model is written, by what it is called: a type, a relation of it, a symbol in its definition."""

    def __init__(self) -> None:
        self._spans: defaultdict[tuple[str, ...], list[Span]] = defaultdict(list)

    def add(self, span: Span, *name: str) -> None:
        """Remember one more place of that name."""
        self._spans[name].append(span)

    def of(self, *name: str, which: int = 0) -> Span:
        """The first place of that name, or the one asked for; zeros where there is none, as in a model from JSON."""
        spans = self._spans.get(name, [])
        return spans[which] if spans else Span(0, 0, 0)


class Parsed(msgspec.Struct, frozen=True):
    """A model as it was written, which may yet be wrong, and where its parts are."""

    model: Model
    places: Places


class _Fragment(msgspec.Struct, frozen=True):
    """What one file holds: the module it says it is (empty for a model), and which types extend another module's."""

    schema: str
    module: str
    types: tuple[Type, ...]
    extensions: tuple[Type, ...]
    conditions: tuple[Condition, ...]


def parse(text: str) -> Parsed:
    """Read a model that is one text.

    Raises:
        LimitExceeded: it is larger than a model may be.
        InvalidModel: it does not follow the grammar; one fault, with line and column.
    """
    places = Places()
    fragment = _read(text, places)
    if fragment.module:
        fault = Fault("schema-version-required", "a model begins with `model` and its schema; this is a module", 1, 1)
        raise InvalidModel(fault)
    return Parsed(Model(fragment.schema, fragment.types, fragment.conditions), places)


def parse_modules(files: Mapping[str, str], schema: str = "1.2") -> Parsed:
    """Read a model that is a set of modules, by the names of their files, and put it together in that order.

    Raises:
        LimitExceeded: it is larger than a model may be.
        InvalidModel: a file does not follow the grammar, or extends a type that no file defines, or adds a relation
            that the type has.
    """
    if sum(map(len, files.values())) > MODEL_MAX_BYTES:
        raise LimitExceeded(f"A model may have {MODEL_MAX_BYTES} bytes.")
    places = Places()
    fragments = {name: _read(text, places, name) for name, text in files.items()}
    types = [type_ for fragment in fragments.values() for type_ in fragment.types]
    for name, fragment in fragments.items():
        if not fragment.module:
            raise InvalidModel(Fault("invalid-module", "a file of a modular model begins with `module`", 1, 1, 1, name))
        for extension in fragment.extensions:
            _extend(types, extension, places)
    conditions = tuple(condition for fragment in fragments.values() for condition in fragment.conditions)
    return Parsed(Model(schema, tuple(types), conditions), places)


def _extend(types: list[Type], extension: Type, places: Places) -> None:
    at = next((at for at, type_ in enumerate(types) if type_.name == extension.name), None)
    if at is None:
        span = places.of("extend", extension.name)
        message = f"extended type {extension.name} does not exist"
        raise InvalidModel(Fault("missing-definition", message, span.line, span.column, span.end, span.file))
    added = tuple(msgspec.structs.replace(relation, source=extension.source) for relation in extension.relations)
    types[at] = msgspec.structs.replace(types[at], relations=(*types[at].relations, *added))


def _read(text: str, places: Places, file: str = "") -> _Fragment:
    size = len(text.encode())
    if size > MODEL_MAX_BYTES:
        raise LimitExceeded(f"A model may have {MODEL_MAX_BYTES} bytes; this one has {size}.")
    return _Reader(text, places, file).fragment()


def _without_comment(line: str) -> str:
    """A line up to its comment: `#` at its start or after a blank, for `#` alone also joins a type and a relation."""
    return "" if line.lstrip().startswith("#") else line.split(" #", maxsplit=1)[0].rstrip()


class _Reader:
    """One pass over one text. Each method reads what its name says, or raises at the place where it is not."""

    def __init__(self, text: str, places: Places, file: str) -> None:
        self.text = "\n".join(map(_without_comment, re.split(r"\r\n|\r|\n", text)))
        self.end = len(self.text.rstrip())
        self.starts = [0, *(found.end() for found in re.finditer("\n", self.text))]
        self.places = places
        self.file = file
        self.at = 0
        self.type = ""
        self.relation = ""

    def fragment(self) -> _Fragment:
        self.skip_lines()
        schema = module = ""
        if self.word("`model` or `module`", "model", "module") == "module":
            module = self.name("the name of the module")
        else:
            self.new_line("`schema` on a line of its own")
            self.word("`schema`", "schema")
            self.skip_blank()
            schema = self.matched(_VERSION, "a schema version")
            self.places.add(self.span(self.at - len(schema)), "schema")
        types: list[Type] = []
        extensions: list[Type] = []
        conditions: list[Condition] = []
        source = Source(module, self.file) if module else Source()
        while not self.ended():
            self.new_line("the end of the line")
            keyword = self.word("`type`, `extend type` or `condition`", "type", "extend", "condition")
            if keyword == "condition":
                conditions.append(self.condition(source))
            elif conditions:
                raise self.wrong("a condition: types come first", self.at - len(keyword))
            elif keyword == "type":
                types.append(self.type_of("type", source))
            elif module:
                self.word("`type`", "type")
                extensions.append(self.type_of("extend", source))
            else:
                raise self.wrong("`type`: only a module extends one", self.at - len(keyword))
        conditions.sort(key=lambda condition: condition.name)
        return _Fragment(schema, module, tuple(types), tuple(extensions), tuple(conditions))

    def type_of(self, kind: str, source: Source) -> Type:
        self.type = self.name("the name of a type", lambda span, name: self.places.add(span, kind, name))
        relations: list[Relation] = []
        if self.next_line_begins("relations"):
            if not self.next_line_begins("define"):
                self.skip_lines()
                raise self.wrong("`define`")
            relations.append(self.definition())
            while self.next_line_begins("define"):
                relations.append(self.definition())
        return Type(self.type, tuple(relations), source)

    def definition(self) -> Relation:
        def note(span: Span, name: str) -> None:
            self.places.add(span, "relation", self.type, name)

        self.relation = self.name("the name of a relation", note)
        self.skip_blank()
        self.exactly(":")
        self.skip_blank()
        restrictions: list[Restriction] = []
        rewrite = self.rewrite(restrictions, 1, direct=True)
        return Relation(self.relation, rewrite, tuple(restrictions))

    def rewrite(self, restrictions: list[Restriction], depth: int, *, direct: bool) -> Rewrite:
        """An operand, and what one kind of operator joins to it. Only the very first operand may be direct."""
        first = self.operand(restrictions, depth, direct=direct)
        operator = self.operator()
        if not operator:
            return first
        parts = [first, self.operand(restrictions, depth, direct=False)]
        while operator != "but not" and self.operator(operator):
            parts.append(self.operand(restrictions, depth, direct=False))
        before = self.at
        if self.operator():
            raise self.wrong("parentheses around operators that are mixed", before)
        if operator == "but not":
            return Exclusion(parts[0], parts[1])
        return Union(tuple(parts)) if operator == "or" else Intersection(tuple(parts))

    def operator(self, wanted: str = "") -> str:
        """The operator that follows on this line, or nothing."""
        found = re.compile(r"[ \t]+(or|and|but not)(?=\s|\Z)").match(self.text, self.at)
        if not found or (wanted and found[1] != wanted):
            return ""
        self.at = found.end()
        return found[1]

    def operand(self, restrictions: list[Restriction], depth: int, *, direct: bool) -> Rewrite:
        self.skip_blank()
        if self.text.startswith("(", self.at):
            if depth == REWRITE_MAX_DEPTH:
                raise self.wrong(f"no more than {depth} parentheses within each other")
            self.at += 1
            inner = self.rewrite(restrictions, depth + 1, direct=direct)
            self.skip_blank()
            self.exactly(")")
            return inner
        if self.text.startswith("[", self.at):
            if not direct:
                raise self.wrong("a relation: `[...]` stands first in a definition")
            self.restrictions(restrictions)
            return Direct()
        start = self.at
        relation = self.name("a relation")
        through = re.compile(r"[ \t]+from[ \t]+").match(self.text, self.at)
        if through:
            self.at = through.end()
            tupleset = self.name("a relation", lambda span, name: self.note(span, f"from {name}"))
            self.note(self.span(start), f"{relation} from {tupleset}")
            return Through(relation, tupleset)
        self.note(self.span(start), relation)
        return Computed(relation)

    def restrictions(self, into: list[Restriction]) -> None:
        self.exactly("[")
        while True:
            self.skip_lines()
            start = self.at
            type_ = self.name("a type")
            relation, wildcard, condition = "", False, ""
            if self.text.startswith(":", self.at):
                self.at += 1
                self.exactly("*")
                wildcard = True
            elif self.text.startswith("#", self.at):
                self.at += 1
                relation = self.name("a relation")
            subject = self.span(start)
            following = re.compile(r"[ \t]+with[ \t]+").match(self.text, self.at)
            if following:
                self.at = following.end()
                condition = self.name("a condition", lambda span, name: self.note(span, f"with {name}"))
            into.append(Restriction(type_, relation, wildcard, condition))
            self.note(subject, f"[{into[-1]}]")
            self.skip_lines()
            if not self.text.startswith(",", self.at):
                break
            self.at += 1
        self.exactly("]")

    def condition(self, source: Source) -> Condition:
        name = self.name("the name of a condition", lambda span, name: self.places.add(span, "condition", name))
        self.skip_blank()
        self.exactly("(")
        parameters = [self.parameter()]
        while self.text.startswith(",", self.at):
            self.at += 1
            parameters.append(self.parameter())
        self.exactly(")")
        self.skip_blank()
        self.exactly("{")
        start = self.at
        while not self.text.startswith("}", self.at):
            if self.ended():
                raise self.wrong("`}`", len(self.text))
            string = _STRING.match(self.text, self.at)
            self.at = string.end() if string else self.at + 1
        expression = self.text[start : self.at].strip()
        self.at += 1
        return Condition(name, tuple(sorted(parameters, key=lambda p: p.name)), expression, source)

    def parameter(self) -> Parameter:
        self.skip_lines()
        name = self.name("the name of a parameter")
        self.skip_blank()
        self.exactly(":")
        self.skip_blank()
        type_, item = self.word("the type of a parameter", *TYPES, *CONTAINERS), ""
        if type_ in CONTAINERS:
            self.exactly("<")
            item = self.word("the type of its items", *TYPES)
            self.exactly(">")
        self.skip_lines()
        return Parameter(name, type_, item)

    def name(self, what: str, note: Callable[[Span, str], None] | None = None) -> str:
        self.skip_blank()
        start = self.at
        name = self.matched(_WORD, what)
        if name in _RESERVED:
            raise self.wrong(what, start)
        if note:
            note(self.span(start), name)
        return name

    def word(self, what: str, *words: str) -> str:
        self.skip_blank()
        start = self.at
        word = self.matched(_WORD, what)
        if word not in words:
            raise self.wrong(what, start)
        return word

    def matched(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise self.wrong(what)
        self.at = found.end()
        return found[0]

    def exactly(self, character: str) -> None:
        if not self.text.startswith(character, self.at):
            raise self.wrong(f"`{character}`")
        self.at += 1

    def new_line(self, what: str) -> None:
        before = self.at
        self.skip_lines()
        if "\n" not in self.text[before : self.at]:
            raise self.wrong(what, before)

    def next_line_begins(self, keyword: str) -> bool:
        """Step over the keyword if it is what the next line that is not blank begins with."""
        found = re.compile(rf"\s*?\n\s*{keyword}(?![\w./-])").match(self.text, self.at)
        if found:
            self.at = found.end()
        return found is not None

    def skip_blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def skip_lines(self) -> None:
        found = _BREAK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def ended(self) -> bool:
        return self.at >= self.end

    def note(self, span: Span, symbol: str) -> None:
        self.places.add(span, "symbol", self.type, self.relation, symbol)

    def span(self, start: int) -> Span:
        line = bisect_right(self.starts, start)
        column = start - self.starts[line - 1] + 1
        return Span(line, column, column + self.at - start, self.file)

    def wrong(self, expected: str, at: int | None = None) -> InvalidModel:
        """Say what was expected, and what is there instead."""
        self.at = self.at if at is None else at
        self.skip_blank()
        found = _WORD.match(self.text, self.at)
        found_text = found[0] if found else self.text[self.at : self.at + 1]
        there = {"\n": "the end of the line", "": "the end of the text"}.get(found_text, f"`{found_text}`")
        start, self.at = self.at, self.at + len(found_text)
        span = self.span(start)
        message = f"expected {expected}, found {there}"
        return InvalidModel(Fault("syntax", message, span.line, span.column, span.end, self.file))
