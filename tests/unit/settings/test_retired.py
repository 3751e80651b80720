"""A name that a setting had before is refused by the name that it has now."""

import argparse

import pytest

from predictor.errors import BadSetting
from predictor.settings import GROUPS, RENAMED, Settings, add_flags, fields_of, read_settings


def parse(*arguments: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return read_settings(vars(parser.parse_args(arguments)), environment)


def test_every_old_name_leads_to_a_setting_and_is_none_itself() -> None:
    names = {field.name for group in GROUPS.values() for field in fields_of(group)}
    assert set(RENAMED.values()) <= names
    assert not set(RENAMED) & names


@pytest.mark.parametrize("name", RENAMED)
def test_a_retired_flag_is_refused_by_its_new_name(name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    sentence = f"{flag} was renamed: use {flag}-s"
    for arguments in ((f"{flag}=5",), (flag, "5"), (flag,), (f"--{name}=5",)):
        with pytest.raises(BadSetting) as caught:
            parse(*arguments)
        assert str(caught.value) == sentence


@pytest.mark.parametrize("name", RENAMED)
def test_a_retired_variable_is_refused_by_its_new_name(name: str) -> None:
    variable = f"PREDICTOR_{name.upper()}"
    with pytest.raises(BadSetting) as caught:
        parse(**{variable: "5"})
    assert str(caught.value) == f"{variable} was renamed: use {variable}_S"


def test_an_empty_retired_variable_counts_as_not_set() -> None:
    assert parse(PREDICTOR_POLL_INTERVAL="") == Settings()


def test_a_retired_flag_is_not_in_the_help() -> None:
    parser = argparse.ArgumentParser(prog="serve")
    add_flags(parser)
    assert "--poll-interval-s" in parser.format_help()
    assert "--poll-interval " not in parser.format_help()
