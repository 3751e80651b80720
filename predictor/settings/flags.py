"""The command line's flags, one for each setting."""

import argparse

from predictor.settings.fields import SettingField, fields_of
from predictor.settings.groups import GROUPS
from predictor.settings.retired import RENAMED
from predictor.settings.served_names import SERVED_NAMES


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting, in groups.

    Values stay texts. A flag that is not given is not in the namespace, so that `read_settings` can
    distinguish it from a flag that is given with the default value.
    """
    for group in GROUPS.values():
        section = parser.add_argument_group((group.__doc__ or "").rstrip("."))
        for field in fields_of(group):
            is_bool = field.base is bool
            if field.is_repeatable:
                section.add_argument(
                    *_spellings(field.name),
                    dest=field.name,
                    default=argparse.SUPPRESS,
                    metavar=_metavar(field),
                    help=_help(field),
                    action="append",
                )
                continue
            section.add_argument(
                *_spellings(field.name),
                dest=field.name,
                default=argparse.SUPPRESS,
                metavar=_metavar(field),
                help=_help(field),
                nargs="?" if is_bool else None,
                const="true" if is_bool else None,
            )
    # vLLM's flag, which the reader takes for the name and the aliases.
    parser.add_argument(
        *_spellings(SERVED_NAMES),
        dest=SERVED_NAMES,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
        nargs="+",
    )
    for name in RENAMED:
        # Accepted here, so that the reader can refuse it by its new name.
        parser.add_argument(
            *_spellings(name),
            dest=name,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
            nargs="?",
        )


def _spellings(name: str) -> list[str]:
    """With dashes, and with underscores as KServe writes its flags."""
    return list(dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"]))


def _metavar(field: SettingField) -> str:
    if field.choices:
        return "{" + ",".join(field.choices) + "}"
    names = {bool: "BOOL", int: "N", float: "X"}
    return names.get(field.base, "TEXT")


def _help(field: SettingField) -> str:
    facts = [f"default {field.default_text or 'empty'}", *field.variables]
    if field.base in (int, float) or field.is_repeatable:
        facts.insert(0, field.limits)
    return f"{field.description} [{'; '.join(facts)}]".replace("%", "%%")
