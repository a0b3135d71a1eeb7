"""Reading JSON strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from api.bodies import MAX_DEPTH, parse

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@given(VALUES)
def test_every_ordinary_value_is_read_as_it_is(value):
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"nul", b"[1,]", b"{} {}", b"\xff", b"\xef\xbb\xbf{}", b"'a'"),
        *(b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"9223372036854775808", b"-9223372036854775809", b"1" * 5000),
        *(b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'"\\u0000"', b'{"\\u0000":1}', b'"\\ud800"', b'["\\udfff"]'),
        *(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"[" * 500_000, b'{"a":' * 100_000),
    ],
)
def test_what_two_readers_could_take_differently_is_refused(body):
    with pytest.raises(BadRequest):
        parse(body)


def test_the_limits_themselves_are_allowed():
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert parse(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]
    assert parse(b'"\\ud83d\\ude00"') == "😀"


def test_garbage_never_is_a_500(api):
    for body in (b"[]", b'"x"', b"1", b"null", b"{", b"\x00", b'{"task": {"a": [1]}}', b"[" * 1000):
        answer = api.post("/v1/runs", data=body, content_type="application/json")
        assert answer.status_code in (400, 422), body
        assert answer.json["code"] in ("bad_request", "validation_error")
