"""Reading of YAML."""

import time

import pytest

from pipelines.text import MAX_BYTES, YamlError, plain, read


def code_of(text):
    with pytest.raises(YamlError) as caught:
        read(text)
    return caught.value.code


def test_values_follow_the_core_schema_of_yaml_1_2():
    source = read("a: 1.50\nb: on\nc: '1'\nd: !!str 2\ne: yes\nf: 0x1F\ng: ~\nh: true\ni: 0o17\nj: 1e3\nk:")
    assert list(source.value.values()) == [1.5, "on", "1", "2", "yes", 31, None, True, 15, 1000.0, None]


@pytest.mark.parametrize("text", [".inf", ".nan", "1e999", "9" * 30, "9" * 5000, "1_000", "0b1", "12:30", "2026-01-01"])
def test_what_json_cannot_hold_or_yaml_1_2_does_not_know_stays_text(text):
    assert plain(text) == text


def test_keys_are_text_as_written():
    assert read("on: a\n1.0: b\n~: c\ntrue: d").value == {"on": "a", "1.0": "b", "~": "c", "true": "d"}


def test_places_tell_line_column_and_the_text_as_written():
    place = read("a:\n  - 1.0\n").places["a", 0]
    assert (place.line, place.column, place.written) == (2, 5, "1.0")


def test_the_first_of_two_equal_keys_is_kept_and_the_second_is_noted():
    source = read("a: 1\na: 2\n")
    assert source.value == {"a": 1}
    assert [(path, place.line) for path, place in source.duplicates] == [(("a",), 2)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1\nb", "yaml_syntax"),
        ("a: b\n---\nc: d", "yaml_syntax"),
        ("? [a]\n: b", "yaml_syntax"),
        ("a: *unknown", "yaml_syntax"),
        ("a: \x01", "yaml_syntax"),
        ("\ud800", "yaml_syntax"),
        (b"\xff", "yaml_syntax"),
        ("a: !!python/object/apply:os.system [ls]", "unsafe_yaml"),
        ("a: !mine b", "unsafe_yaml"),
        ("&a [*a]", "unsafe_yaml"),
        ("[" * 33 + "]" * 33, "unsafe_yaml"),
        ("[" * 5000, "unsafe_yaml"),
        ('a: "\\0"', "unsafe_yaml"),
        ('"\\0": a', "yaml_syntax"),
        ("a: &x 1\nb: [" + ",".join(["*x"] * 101) + "]", "unsafe_yaml"),
        ("[" + "a," * 60_000 + "]", "unsafe_yaml"),
        ("a" * (MAX_BYTES + 1), "too_large"),
    ],
)
def test_bad_text_is_refused(text, code):
    assert code_of(text) == code


def test_nested_aliases_count_every_expansion():
    levels = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8))
    started = time.monotonic()
    assert code_of("a: &a [x]\n" + levels) == "unsafe_yaml"
    assert time.monotonic() - started < 3


def test_an_error_says_where_it_is():
    with pytest.raises(YamlError) as caught:
        read("a: 1\nb: !x 2\n")
    assert (caught.value.line, caught.value.column) == (2, 4)


def test_a_byte_order_mark_and_aliases_are_fine():
    assert read("\ufeffa: &x [1]\nb: *x".encode()).value == {"a": [1], "b": [1]}


def test_aliases_do_not_nest_deeper_than_anything_else():
    first = "a0: &a0 x\n"
    chain = "".join(f"a{n}: &a{n} {'[' * 25}*a{n - 1}{']' * 25}\n" for n in range(1, 13))
    assert code_of(first + chain) == "unsafe_yaml"


def test_what_an_alias_holds_does_not_count_as_more_aliases():
    text = "a: &a [" + "x," * 200 + "]\n" + "".join(f"b{n}: *a\n" for n in range(100))
    assert len(read(text).value) == 101
    assert code_of(text + "c: *a") == "unsafe_yaml"
