"""The modelling language and the JSON form: read, written, and refused with a place."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.access.errors import AccessError, Fault, InvalidModel, LimitExceeded
from tenantry.access.language import parse, parse_modules
from tenantry.access.limits import MODEL_MAX_BYTES, MODEL_MAX_TYPES
from tenantry.access.model import Condition, Exclusion, Parameter, Restriction, Union
from tenantry.access.printing import print_model
from tenantry.access.validation import validate
from tenantry.access.wire import decode_model, encode_model

HEAD = "model\n  schema 1.1\n"
DOC = HEAD + "type user\ntype doc\n  relations\n    define owner: [user]\n"

EVERYTHING = """model
  schema 1.2

type user

type team
  relations
    define member: [user, user:*, team#member with recent]

type folder.v2
  relations
    define parent: [folder.v2]
    define viewer: [user] or viewer from parent
    define reader: ([user with recent] or viewer) but not (viewer and reader2)
    define reader2: viewer or (viewer from parent and viewer)

condition recent(at: timestamp, days: list<int>) {
  at < timestamp("2026-01-01T00:00:00Z") && "}" != string(days[0])
}
"""


def faults_of(text: str) -> list[tuple[str, int, int]]:
    with pytest.raises(InvalidModel) as raised:
        parsed = parse(text)
        validate(parsed.model, parsed.places)
    assert (raised.value.code, raised.value.number) == ("invalid_authorization_model", 2056)
    return [(fault.kind, fault.line, fault.column) for fault in raised.value.faults]


def test_what_is_written_is_what_was_read() -> None:
    assert print_model(parse(EVERYTHING).model) == EVERYTHING


def test_the_json_form_is_openfgas() -> None:
    model = parse(DOC + "    define viewer: ([user:*] or owner) but not blocked from owner\n").model
    assert msgspec.json.decode(encode_model(model)) == {
        "schema_version": "1.1",
        "type_definitions": [
            {"type": "user", "relations": {}, "metadata": None},
            {
                "type": "doc",
                "relations": {
                    "owner": {"this": {}},
                    "viewer": {
                        "difference": {
                            "base": {"union": {"child": [{"this": {}}, {"computedUserset": {"relation": "owner"}}]}},
                            "subtract": {
                                "tupleToUserset": {
                                    "tupleset": {"relation": "owner"},
                                    "computedUserset": {"relation": "blocked"},
                                }
                            },
                        }
                    },
                },
                "metadata": {
                    "relations": {
                        "owner": {"directly_related_user_types": [{"type": "user"}]},
                        "viewer": {"directly_related_user_types": [{"type": "user", "wildcard": {}}]},
                    }
                },
            },
        ],
    }
    assert decode_model(encode_model(model)) == model


def test_blanks_comments_and_line_ends_mean_nothing() -> None:
    text = (
        "# a model\r\nmodel # the\r\n  schema 1.1\r\n\r\ntype user # people\r\n  # none\r\ntype doc\r\n relations\r\n"
    )
    text += "  define viewer   :[ user ,\r\n   user:* ,doc#viewer]   or  owner\r\n\r\n\r\ndefine owner:[user]\r\n\r\n"
    viewer, owner = parse(text).model.types[1].relations
    assert isinstance(viewer.rewrite, Union)
    assert viewer.restrictions == (
        Restriction("user"),
        Restriction("user", wildcard=True),
        Restriction("doc", "viewer"),
    )
    assert owner.restrictions == (Restriction("user"),)


def test_a_condition_is_kept_as_it_is_written() -> None:
    (recent,) = parse(EVERYTHING).model.conditions
    expression = 'at < timestamp("2026-01-01T00:00:00Z") && "}" != string(days[0])'
    assert recent == Condition("recent", (Parameter("at", "timestamp"), Parameter("days", "list", "int")), expression)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: expected `model` or `module`, found the end of the text"),
        ("model\n  schema 1\n", "2:10: expected a schema version, found `1`"),
        (DOC + "    define viewer: owner or\n", "7:28: expected a relation, found the end of the line"),
        (
            DOC + "    define viewer: owner or owner and owner\n",
            "7:35: expected parentheses around operators that are mixed",
        ),
        (
            DOC + "    define viewer: owner or [user]\n",
            "7:29: expected a relation: `[...]` stands first in a definition",
        ),
        (DOC + "    define viewer: [user\n", "8:1: expected `]`, found the end of the text"),
        (DOC + "    define viewer [user]\n", "7:19: expected `:`, found `[`"),
        (DOC + "    define viewer: from\n", "7:20: expected a relation, found `from`"),
        (DOC + "typ team\n", "7:1: expected `type`, `extend type` or `condition`, found `typ`"),
        (DOC + "extend type user\n", "7:1: expected `type`: only a module extends one, found `extend`"),
        (HEAD + "type doc\n  relations\n    defne viewer: [user]\n", "5:5: expected `define`, found `defne`"),
        (HEAD + "type user relations\n", "3:11: expected the end of the line, found `relations`"),
        (HEAD + "condition c(x: number) {\n x\n}\n", "3:16: expected the type of a parameter, found `number`"),
        (HEAD + "condition c(x: int) {\n x\n", "5:1: expected `}`, found the end of the text"),
    ],
)
def test_an_error_of_syntax_says_what_was_expected_where(text: str, message: str) -> None:
    with pytest.raises(InvalidModel) as raised:
        parse(text)
    (fault,) = raised.value.faults
    assert fault.kind == "syntax"
    assert message in str(fault)


@pytest.mark.parametrize(
    ("text", "kind", "line", "column"),
    [
        ("model\n  schema 1.0\ntype user\n", "invalid-schema", 2, 10),
        (HEAD + "type this\n", "reserved-type-keywords", 3, 6),
        (HEAD + "type user\ntype user\n", "duplicated-error", 4, 6),
        (HEAD + "type " + "t" * 255 + "\n", "invalid-name", 3, 6),
        (HEAD + "condition c(a: int, a: string) {\n a\n}\n", "duplicated-error", 3, 11),
        (HEAD + "condition c(a: int) {\n a\n}\ncondition c(a: int) {\n a\n}\n", "duplicated-error", 6, 11),
        (DOC + "    define self: owner\n", "reserved-relation-keywords", 7, 12),
        (DOC + "    define owner: [user]\n", "duplicated-error", 7, 12),
        (DOC + "    define " + "r" * 51 + ": owner\n", "invalid-name", 7, 12),
        (DOC + "    define viewer: [user, nobody]\n", "invalid-type", 7, 27),
        (DOC + "    define viewer: [user, doc#nothing]\n", "invalid-relation-type", 7, 27),
        (DOC + "    define viewer: [user with never]\n", "condition-not-defined", 7, 31),
        (DOC + "    define viewer: owner or nothing\n", "missing-definition", 7, 29),
        (DOC + "    define viewer: owner from nothing\n", "invalid-relation-type", 7, 20),
        (DOC + "    define viewer: nothing from owner\n", "invalid-relation-on-tupleset", 7, 20),
        (DOC + "    define a: [user:*]\n    define viewer: owner from a\n", "tupleuserset-not-direct", 8, 31),
        (DOC + "    define viewer: [doc#viewer]\n", "relation-no-entry-point", 7, 12),
        (DOC + "    define viewer: [user] or viewer\n", "relation-no-entry-point", 7, 12),
    ],
)
def test_a_fault_of_meaning_has_openfgas_name_and_its_place(text: str, kind: str, line: int, column: int) -> None:
    assert faults_of(text) == [(kind, line, column)]
    parsed = parse(DOC)
    validate(parsed.model, parsed.places)


def test_every_fault_of_a_kind_is_told_at_once() -> None:
    text = DOC + "    define a: nothing\n    define b: [nobody] or none from owner\n"
    assert [kind for kind, _, _ in faults_of(text)] == [
        "missing-definition",
        "invalid-type",
        "invalid-relation-on-tupleset",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"schema_version": "1.1"}',
        b'{"schema_version": "1.1", "type_definitions": [], "surprise": 1}',
        b'{"schema_version": "1.1", "type_definitions": [{"type": "doc", "relations": {"viewer": {}}}]}',
        b'{"schema_version": "1.1", "type_definitions": [{"type": "doc", "relations": {"a": {"this": {}, "union": {"child": []}}}}]}',
        b'{"schema_version": "1.1", "type_definitions": [{"type": "doc", "relations": {"a": {"union": {"child": []}}}}]}',
        b'{"schema_version": "1.1", "type_definitions": [{"type": "doc", "metadata": {"relations": {"viewer": {}}}}]}',
        b'{"schema_version": "1.1", "type_definitions": [], "conditions": {"a": {"name": "b", "expression": "true"}}}',
    ],
)
def test_json_that_is_no_model_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidModel):
        decode_model(body)
    assert decode_model(b'{"schema_version": "1.1", "type_definitions": []}').types == ()


def test_acc_21_a_model_beyond_its_limits_is_refused_by_openfgas_code() -> None:
    """ACC-21: too many bytes, too many types, too deep a definition."""
    types = "".join(f"type t{n}\n" for n in range(MODEL_MAX_TYPES))
    validate(parse(HEAD + types).model)
    for refused in (
        lambda: validate(parse(HEAD + types + "type more\n").model),
        lambda: parse(HEAD + "#" * MODEL_MAX_BYTES),
        lambda: decode_model(b" " * (MODEL_MAX_BYTES + 1)),
        lambda: parse_modules({"a.fga": "module a\n" + "#" * MODEL_MAX_BYTES}),
    ):
        with pytest.raises(LimitExceeded) as raised:
            refused()
        assert (raised.value.code, raised.value.number) == ("exceeded_entity_limit", 2053)


def test_acc_21_parentheses_and_nested_json_are_bounded() -> None:
    """ACC-21: 24 parentheses are read, a thousand are refused, in both forms."""
    nested = DOC + "    define viewer: " + "(" * 24 + "owner" + ")" * 24 + "\n"
    assert (
        parse(nested).model.types[1].relations[1].rewrite
        == parse(DOC + "    define viewer: owner\n").model.types[1].relations[1].rewrite
    )
    with pytest.raises(InvalidModel):
        parse(DOC + "    define viewer: " + "(" * 1_000 + "owner" + ")" * 1_000 + "\n")
    deep = b'{"union":{"child":[' * 5_000 + b'{"this":{}}' + b"]}}" * 5_000
    with pytest.raises(AccessError):
        decode_model(b'{"schema_version":"1.1","type_definitions":[{"type":"a","relations":{"b":' + deep + b"}}]}")


def test_acc_21_a_model_of_thousands_of_relations_is_decided_in_good_time() -> None:
    """ACC-21: what a text of the largest size can hold, in the order that is the worst for a naive pass."""
    count = 4_000
    chain = "".join(f"    define r{n}: r{n + 1}\n" for n in range(count))
    parsed = parse(DOC + chain + f"    define r{count}: owner\n")
    validate(parsed.model, parsed.places)
    circular = parse(DOC + chain + f"    define r{count}: r0\n")
    with pytest.raises(InvalidModel):
        validate(circular.model, circular.places)


MODULES = {
    "core.fga": "module core\ntype user\ntype org\n  relations\n    define member: [user]\n",
    "wiki.fga": "module wiki\nextend type org\n  relations\n    define reader: member\ntype page\n",
}


def test_modules_are_put_together_and_remember_where_they_come_from() -> None:
    model = parse_modules(MODULES).model
    assert model.schema == "1.2"
    assert [type_.name for type_ in model.types] == ["user", "org", "page"]
    assert [(r.name, r.source.module, r.source.file) for r in model.types[1].relations] == [
        ("member", "", ""),
        ("reader", "wiki", "wiki.fga"),
    ]
    assert (model.types[1].source.module, model.types[2].source.module) == ("core", "wiki")
    assert decode_model(encode_model(model)) == model


def test_a_module_that_extends_what_is_nowhere_is_refused_with_its_file() -> None:
    with pytest.raises(InvalidModel) as raised:
        parse_modules({"wiki.fga": MODULES["wiki.fga"]})
    message = "extended type org does not exist"
    assert raised.value.faults == (Fault("missing-definition", message, 2, 13, 16, "wiki.fga"),)
    with pytest.raises(InvalidModel):
        parse(MODULES["core.fga"])


def test_what_the_language_has_no_words_for_is_refused() -> None:
    model = parse(DOC + "    define viewer: [user] but not owner\n").model
    doc = model.types[1]
    swapped = doc.relations[1].rewrite
    assert isinstance(swapped, Exclusion)
    turned = msgspec.structs.replace(doc.relations[1], rewrite=Exclusion(swapped.subtract, swapped.base))
    types = (model.types[0], msgspec.structs.replace(doc, relations=(doc.relations[0], turned)))
    with pytest.raises(InvalidModel, match="not supported by the OpenFGA DSL syntax yet"):
        print_model(msgspec.structs.replace(model, types=types))


WORDS = (
    "model|schema|1.1|type|user|doc|relations|define|a|b|from|or|and|but not|[|]|(|)|:|*|#|,|{|}|condition|with|extend"
)
words = st.sampled_from([*WORDS.split("|"), "module", "\n", "\n  ", " ", "\0", "'"])


@given(st.one_of(st.text(), st.lists(words).map(" ".join), st.lists(words).map(lambda w: DOC + "".join(w))))
def test_any_text_is_a_model_or_refused(text: str) -> None:
    try:
        parsed = parse(text)
        validate(parsed.model, parsed.places)
    except AccessError:
        return
    assert parse(print_model(parsed.model)).model == parsed.model
