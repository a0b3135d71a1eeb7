"""Templates."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.template import TemplateError, names, names_outside_if, render, uses

TAGS = ["{{a}}", "{{ b }}", "{{STEP.c}}", "{% if a %}", "{% if not b %}", "{% else %}", "{% endif %}"]
PIECES = st.lists(st.one_of(st.sampled_from([*TAGS, "{{", "}}", "{%", "%}", "{{7*7}}", "{", "}"]), st.text(max_size=9)))


def filled(template, **values):
    return render(template, values.get)[0]


def test_names_are_replaced_with_or_without_blanks():
    assert filled("{{a}} {{ a }} {{\ta\t}}", a="x") == "x x x"


def test_outputs_of_a_step_have_dotted_names():
    assert render("{{ STEP-1.out }}", {"STEP-1.out": "x"}.get) == ("x", [])


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "{{ a.b.c }}", "{{ a|upper }}", "{{ a() }}", "{% for a in b %}", "{{}}", "{ { a } }", "${{ }}"]
)
def test_what_is_not_in_the_grammar_stays_as_it_is(text):
    assert filled(text, a="x") == text


def test_a_tag_in_braces_is_found():
    assert filled("{{{a}}}", a="x") == "{x}"


def test_an_unknown_name_gives_nothing_and_is_told_once():
    assert render("[{{ a }}{{ b }}{{ a }}]", {"b": ""}.get) == ("[]", ["a"])


@pytest.mark.parametrize(("value", "chosen"), [("x", "yes"), ("", "no"), (" \n", "no"), (None, "no")])
def test_if_asks_whether_the_value_is_not_blank(value, chosen):
    assert filled("{% if a %}yes{% else %}no{% endif %}", a=value) == chosen


def test_if_not_is_the_opposite_and_tells_no_unknown_name():
    assert render("{% if not a %}x{% endif %}", {}.get) == ("x", [])


def test_conditions_nest_to_depth_eight():
    def nested(depth):
        return "{% if a %}" * depth + "x" + "{% endif %}" * depth

    assert filled(nested(8), a="1") == "x"
    with pytest.raises(TemplateError, match="deeper"):
        filled(nested(9), a="1")


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("ab{% if a %}", 2),
        ("a {{ b", 2),
        ("{% if", 0),
        ("{% endif %}", 0),
        ("x{% else %}", 1),
        ("{% if a == b %}x{% endif %}", 0),
        ("{% if a %}{% else %}{% else %}{% endif %}", 20),
    ],
)
def test_a_tag_that_is_begun_and_not_ended_is_an_error_with_its_place(text, offset):
    with pytest.raises(TemplateError) as caught:
        uses(text)
    assert caught.value.offset == offset


def test_names_tell_what_a_template_uses():
    text = "{{ a }}{% if b %}{{ S.c }}{% endif %}"
    assert names(text) == {"a", "b", "S.c"}
    assert names_outside_if(text) == {"a"}


@given(st.text())
def test_an_inserted_value_is_never_expanded(value):
    tagged = "{{ b }}{% if a %}" + value
    assert filled("<{{ a }}>", a=tagged, b="no") == f"<{tagged}>"


@given(PIECES)
def test_any_text_is_rendered_or_refused(pieces):
    text = "".join(pieces)
    try:
        rendered, unknown = render(text, {"a": "A", "b": ""}.get)
    except TemplateError as error:
        assert 0 <= error.offset < len(text)
    else:
        assert "{{a}}" not in rendered
        assert set(unknown) <= names(text)


@pytest.mark.parametrize(
    "text",
    ["{{" * 100_000 + "}}", "{{ a." * 50_000 + "}}", "{{" + " " * 200_000 + "}}", "{% if" + " " * 200_000 + "%}"],
)
def test_hostile_text_takes_linear_time(text):
    started = time.monotonic()
    with contextlib.suppress(TemplateError):
        render(text, {}.get)
    assert time.monotonic() - started < 3
