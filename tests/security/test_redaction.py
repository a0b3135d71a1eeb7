"""Security rule 5: secrets are replaced in every form, also where a text arrives in pieces."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.redaction import NOTHING, Redactor, Stream

ROOT = Path(__file__).parents[2]
VALUE = 'pa$$ "w/o+rd"=é?&\\x'
LINES = "\n".join(f"{number}Zm9vLongLineOfAPrivateKey" for number in range(9))
KEY = f"-----BEGIN KEY-----\n{LINES}\n-----END KEY-----\n"
REDACTOR = Redactor({"db": VALUE, "ssh": KEY})
FORMS = {
    "literal": VALUE,
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
    "in a base64 text": base64.b64encode(f"user:{VALUE}@host".encode()).decode(),
    "shifted by one": base64.b64encode(f"x{VALUE}".encode()).decode(),
    "URL": quote(VALUE, safe=""),
    "path": quote(VALUE),
    "form": quote_plus(VALUE),
    "JSON": json.dumps(VALUE)[1:-1],
    "JSON in UTF-8": json.dumps(VALUE, ensure_ascii=False)[1:-1],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_replaced_by_the_name(form) -> None:
    assert REDACTOR.clean(f"before {form} after").startswith("before ")
    assert "[secret:db]" in REDACTOR.clean(f"before {form} after")
    assert form[4:-4] not in REDACTOR.clean(f"before {form} after")


@given(st.sampled_from(sorted(FORMS.values())), st.lists(st.integers(0, 80), max_size=6))
def test_a_form_in_pieces_is_found_wherever_it_is_cut(form, cuts) -> None:
    text, stream = f"say {form} now", Stream(REDACTOR)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    said = [stream.feed(text[start:end]) for start, end in pairwise(places)]
    assert "".join(said) + stream.rest() == REDACTOR.clean(text)


def test_only_what_may_be_a_secret_is_held_back() -> None:
    stream = Stream(REDACTOR)
    assert stream.feed("nothing to hide") == "nothing to hide"
    assert (stream.feed(f"x{VALUE[:5]}"), stream.feed("?"), stream.rest()) == ("x", f"{VALUE[:5]}?", "")
    assert (stream.feed(VALUE[:5]), stream.rest(), stream.rest()) == ("", VALUE[:5], "")


@given(st.text(max_size=200))
def test_other_texts_are_left_alone(text) -> None:
    assert NOTHING.clean(text) == text
    assert Redactor({"x": "a secret that is not in there"}).clean(text) == text


def test_a_line_of_a_long_secret_gives_it_away() -> None:
    line = KEY.splitlines()[3]
    assert REDACTOR.clean(f"> {line}") == "> [secret:ssh]"
    assert REDACTOR.clean("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


@pytest.mark.parametrize("width", [64, 76])
def test_a_long_secret_in_broken_base64_is_found(width) -> None:
    encoded = "\n".join(textwrap.wrap(base64.b64encode(KEY.encode()).decode(), width))
    cleaned = REDACTOR.clean(encoded)
    assert not [line for line in encoded.splitlines()[:-1] if line in cleaned]


def test_values_under_eight_characters_are_not_looked_for() -> None:
    assert not Redactor({"pin": "1234567", "blank": "  1234567  \n"})
    assert Redactor({"pin": "12345678"})


def test_strings_are_cleaned_anywhere_in_a_value() -> None:
    found = REDACTOR.clean_all({VALUE: [1, None, {"x": VALUE}], "n": 2.5, "b": True})
    assert found == {"[secret:db]": [1, None, {"x": "[secret:db]"}], "n": 2.5, "b": True}


NOISY = """
import logging, structlog
from models import logs, redaction
logs.configure_logs()
with redaction.active(redaction.Redactor({"db": VALUE})):
    structlog.get_logger("a").warning("x", value=VALUE, key="sk-of-the-environment")
    try:
        raise ValueError(f"no {VALUE}")
    except ValueError:
        logging.getLogger("b").exception("broke on %s", VALUE)
        structlog.get_logger("c").error("broke", exc_info=True)
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_log_line_shows_a_secret_in_use_or_a_key_of_the_server(form) -> None:
    environment = os.environ | {"LOG_FORMAT": form, "NOBODYS_API_KEY": "sk-of-the-environment"}
    command = [sys.executable, "-c", f"VALUE = {VALUE!r}\n{NOISY}"]
    written = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert written.count("[secret:db]") >= 3 and "[secret:NOBODYS_API_KEY]" in written
    assert VALUE not in written and json.dumps(VALUE)[1:-1] not in written and "sk-of" not in written
