"""Settings behind a model's name: one spelling, whatever was written; what fits is sent, the rest told."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_rltask.models.model_settings import EFFORTS, OURS, SETTINGS, parse_further, request_fields, unfit_for
from pytest_rltask.models.named import missing_key, parse_model
from tests.support.request_schemas import schemas, violations_of

KEYS = st.from_regex(r"x_[a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@pytest.mark.parametrize(
    ("written", "name", "fields"),
    [
        ("claude-opus-5@effort=high", "claude-opus-5@effort=high", {"output_config": {"effort": "high"}}),
        (
            "claude-opus-5@ thinking = 2048, effort=max",
            "claude-opus-5@effort=max,thinking=2048",
            {"output_config": {"effort": "max"}, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        ("claude-x@thinking=off", "claude-x@thinking=off", {"thinking": {"type": "disabled"}}),
        ("claude-x@thinking=between_tools", "claude-x@thinking=between_tools", {"thinking": {"type": "between_tools"}}),
        (
            "claude-x@thinking_display=omitted,thinking=adaptive",
            "claude-x@thinking=adaptive,thinking_display=omitted",
            {"thinking": {"type": "adaptive", "display": "omitted"}},
        ),
        ("api:q@temperature=0.70,top_p=1.0,top_k=05", "api:q@temperature=0.7,top_p=1,top_k=5",
         {"temperature": 0.7, "top_p": 1, "top_k": 5}),
        ("claude-x@speed=fast", "claude-x@speed=fast", {"speed": "fast"}),
        (
            r'claude-x@metadata={"user_id": "a\u0040b=c,d"},speed=fast',
            r'claude-x@metadata={"user_id":"a\u0040b=c,d"},speed=fast',
            {"metadata": {"user_id": "a@b=c,d"}, "speed": "fast"},
        ),
        ("api:q@reply_tokens=1400", "api:q@reply_tokens=1400", {}),
        ("claude-opus-4@20250514", "claude-opus-4@20250514", {}),
        ("api:me@home/x@y=1@top_k=4", "api:me@home/x@y=1@top_k=4", {"top_k": 4}),
    ],
)  # fmt: skip
def test_a_name_has_one_spelling_and_says_what_is_sent(written: str, name: str, fields: dict[str, Any]):
    model = parse_model(written)

    assert (model.name, model.fields) == (name, fields)
    assert parse_model(name) == model


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claude-x@effort=highest", "effort='highest' is not one of low, medium, high, xhigh, max; write effort=high"),
        ("claude-x@efort=high", "efort is no setting; write effort=high"),
        ("claude-x@thinking=500", "is not a budget of at least 1024 tokens, adaptive, off or between_tools"),
        ("claude-x@temperature=hot", "temperature='hot' is not a number from 0 to 2; write temperature=0.7"),
        ("claude-x@temperature=nan", "is not a number from 0 to 2"),
        ("claude-x@top_k=0", "is not a whole number of at least 1"),
        ("claude-x@effort=high,effort=low", "effort is given twice; write it once"),
        ("claude-x@effort=", "effort has no value; write effort=high"),
        ("claude-x@effort=high,", "'' is no setting; write key=value"),
        ("claude-x@high", "claude-x@high: 'high' is no setting; write claude-x@effort=high"),
        ("claude-x@high@effort=high", "'high' is no setting"),
        ("claude-x@", "'' is no setting"),
        ("claude-x@effort=high,so", "'so' is no setting; write key=value"),
        ("claude-x@max_tokens=5", "max_tokens is filled in by the trial; write reply_tokens=N"),
        ("claude-x@messages=[]", "messages is filled in by the trial"),
        ('claude-x@metadata={"a":', "the value of metadata begins like JSON and is none"),
        ('claude-x@metadata={"a":1}b', "the value of metadata goes on behind its JSON"),
        ("claude-x@seed=1e999", "a number in a setting is not finite"),
        ("claude-x@thinking_display=omitted", "write thinking=adaptive beside it"),
        ("claude-x@thinking=4000,reply_tokens=4000", "or reply_tokens=12000"),
        ("policy:baseline@effort=high", "policy:baseline takes no settings, which are for models of an API"),
        ("human@effort=high", "human takes no settings"),
        ("replay:logs/none@effort=high", "replay:logs/none takes no settings"),
        ("api:", "unknown model 'api:'"),
        ("api:a\nb", "which no model's does"),
        ("gpt-7@effort=high", "write claude-..., api:NAME, policy:NAME, replay:RUN_DIR or human"),
    ],
)
def test_what_is_no_setting_is_told_with_what_to_write(name: str, said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_model(name)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_any_field_comes_back_from_a_name(fields: dict[str, Any]):
    behind = ",".join(f"{key}={json.dumps(value)}" for key, value in fields.items()).replace("@", r"\u0040")
    behind = behind.replace("\x7f", r"\u007f")
    assume(len(behind) < 900)

    model = parse_model(f"api:some@{behind}")

    assert model.fields == fields
    assert parse_model(model.name) == model


@given(st.text(max_size=40))
def test_any_text_is_a_model_or_is_told(text: str):
    with contextlib.suppress(ValueError):
        model = parse_model(text)
        assert parse_model(model.name) == model


@given(st.text(min_size=1, max_size=200))
def test_a_label_is_plain_and_names_one_model(name: str):
    try:
        model = parse_model(f"api:{name}")
    except ValueError:
        return

    assert model.label.isascii()
    assert not set(model.label) & set(" []\\'\"|<>&;")
    assert "::" not in model.label
    assert len(model.label) <= 120


@pytest.mark.parametrize("text", ['metadata={"user_id": 1', "stop_sequences=[a]", 'x="a', f"x={'[' * 990}"])
def test_what_begins_like_json_and_is_none_is_not_sent(text: str):
    with pytest.raises(ValueError, match="begins like JSON and is none"):
        parse_further(text)


@pytest.mark.parametrize(("tier", "said"), [("foo", "write service_tier=auto or standard_only"), ("auto", None)])
def test_a_word_that_the_sdk_does_not_name_is_told_before_anything(tier: str, said: str | None):
    found = missing_key(parse_model(f"claude-opus-5@service_tier={tier}"), {"ANTHROPIC_API_KEY": "k"}, ())

    assert (found is None) if said is None else said in (found or "")


def test_what_is_set_of_all_gives_way_to_what_a_name_says():
    everywhere = (("effort", "low"), ("top_k", "4"))

    assert parse_model("claude-x@effort=high", everywhere).name == "claude-x@effort=high,top_k=4"
    assert parse_model("policy:null", everywhere).name == "policy:null"


def test_a_further_field_is_read_as_an_ini_file_has_it():
    assert parse_further("service_tier = standard_only") == ("service_tier", "standard_only")
    assert request_fields((parse_further('metadata = {"user_id": "x"}'),)) == {"metadata": {"user_id": "x"}}
    assert request_fields((parse_further('stop_sequences = ["12", 12]'),)) == {"stop_sequences": ["12", 12]}
    assert parse_further('user = "a@b=c"') == ("user", r'"a\u0040b=c"')
    assert request_fields((parse_further('tag = "12"'),)) == {"tag": "12"}


def test_a_budget_has_to_fit_into_a_reply_of_the_task():
    assert unfit_for((("thinking", "2048"),), 2049) == ""
    assert "which has 2048 tokens" in unfit_for((("thinking", "2048"),), 2048)
    assert unfit_for((("thinking", "adaptive"),), 10) == ""


def test_what_has_an_option_is_none_of_the_trials_own_fields():
    assert not {
        field for setting in SETTINGS.values() for field in request_fields(((setting.key, setting.example),))
    } & set(OURS)


@pytest.mark.parametrize(
    "settings",
    [
        *(f"effort={level}" for level in ("low", "medium", "high", "xhigh", "max")),
        *(f"thinking={how}" for how in ("1024", "adaptive", "off", "between_tools")),
        *(f"thinking={how},thinking_display=summarized" for how in ("9000", "adaptive")),
        "thinking=adaptive,thinking_display=omitted",
        *("service_tier=auto", "service_tier=standard_only", "speed=fast", "speed=standard", "inference_geo=us"),
        *('metadata={"user_id":"x"}', 'stop_sequences=["x"]', 'tool_choice={"type":"any"}'),
        'cache_control={"type":"ephemeral","ttl":"1h"}',
    ],
)  # fmt: skip
def test_what_is_set_is_in_the_types_of_the_sdk(settings: str):
    body = {"model": "claude-x", "max_tokens": 1, **parse_model(f"claude-x@{settings}").fields}

    assert list(violations_of(schemas().body, body, "")) == []


@pytest.mark.parametrize("key", ["temperature", "top_p", "top_k", "min_p", "seed"])
def test_what_the_sdk_has_no_type_for_is_what_other_servers_take(key: str):
    assert key not in schemas().params


def test_the_sdk_has_no_effort_and_no_way_to_think_that_cannot_be_set():
    from anthropic.types import output_config_param, thinking_config_param

    (effort, _) = get_args(get_type_hints(output_config_param.OutputConfigParam)["effort"])
    ways = [get_type_hints(kind)["type"] for kind in get_args(thinking_config_param.ThinkingConfigParam)]
    assert get_args(effort) == EFFORTS
    assert {get_args(way)[0] for way in ways} == {"enabled", "disabled", "adaptive", "between_tools"}
