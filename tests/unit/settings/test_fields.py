"""What the declarations of the settings have to hold."""

import re
from typing import get_args

import pytest

from predictor.bundle.manifest import VARIANTS
from predictor.engine.session import Device
from predictor.settings import (
    GROUPS,
    DeviceChoice,
    ModelSettings,
    SettingField,
    VariantChoice,
    fields_of,
)
from predictor.types import Pooling

FIELDS = [field for group in GROUPS.values() for field in fields_of(group)]


def test_no_two_settings_share_a_flag_or_a_variable() -> None:
    variables = [variable for field in FIELDS for variable in field.variables]
    assert len(set(variables)) == len(variables)
    assert len({field.flag for field in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_is_described_in_whole_sentences(field: SettingField) -> None:
    assert re.fullmatch(r"[A-Z].*\.", field.description)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_setting_whose_description_has_a_unit_has_it_in_its_name(field: SettingField) -> None:
    units = {"Seconds": "_s", "Milliseconds": "_ms", "MiB": "_mb", "Bytes": "_bytes"}
    unit = units.get(field.description.partition(" ")[0].rstrip("."))
    assert unit is None or field.name.endswith(unit)


def test_the_choices_are_those_of_the_engine_and_of_the_models() -> None:
    choices = {field.name: field.choices for field in fields_of(ModelSettings)}
    assert choices["variant"] == get_args(VariantChoice) == ("auto", *VARIANTS)
    assert choices["device"] == get_args(DeviceChoice) == get_args(Device)
    assert choices["pooling"] == ("auto", *(pooling.value for pooling in Pooling))


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("no_convert", "true or false"),
        ("model_dir", "a text"),
        ("device", "one of auto, cpu, cuda"),
        ("threads", "a whole number of at least 0"),
        ("http_port", "a whole number from 0 to 65535"),
        ("cache_redis_timeout_ms", "a number of at least 0.1"),
        ("ingest_share", "a number from 0 to 0.9"),
    ],
)
def test_limits_are_named_with_both_ends(name: str, limits: str) -> None:
    assert {field.name: field.limits for field in FIELDS}[name] == limits


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page", "true"),
        ("max_body_bytes", "8388608"),
        ("cache_mb", "64"),
        ("ingest_share", "0.25"),
        ("drift_dir", ""),
    ],
)
def test_a_default_is_shown_as_one_would_write_it(name: str, text: str) -> None:
    assert {field.name: field.default_text for field in FIELDS}[name] == text
