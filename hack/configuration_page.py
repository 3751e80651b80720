"""Write predictor/docs/configuration.md out of the types of the settings.

`--check` writes nothing: one line, and exit code 1, if the page is stale. Run by hack/verify.sh,
from any folder.
"""

import re
import sys
from collections.abc import Iterator

import msgspec
from markdown_pages import made_page

from predictor.settings import GROUPS, RENAMED, SettingField, fields_of

FLAG = re.compile(r"--[a-z][\w-]*\w")
HEAD = """\
# Configuration

<!-- Made by hack/configuration_page.py from predictor/settings. Do not edit. -->

Every setting of `predictor serve` has a flag and an environment variable. The flag takes precedence
over the variable `PREDICTOR_*`, that over the variable of another server for the same setting (the
second one in the tables), and that over the default. An empty variable counts as not set.

A flag may be written with dashes or with underscores: `--http-port` and `--http_port` are the same.
Settings that are true or false are read in any case, and as `1` and `0`; the flag alone means true.
Limits are inclusive. If a value is outside its limits, the server does not start: it exits with
code 2 and one line that names the flag or the variable, the value and the limits.

Kubernetes may set such variables too: in a namespace with a Service `predictor-admin` a pod gets
`PREDICTOR_ADMIN_PORT=tcp://…` (service links). The server ignores service links and logs a warning
that names them. Pods of the charts have `enableServiceLinks: false` and get none.
"""
COLUMNS = "| Flag | Environment variables | Type and limits | Default | Meaning |"


def page() -> str:
    sections = [section(group) for group in GROUPS.values()]
    return "\n".join([HEAD, *sections, "\n".join(renamed())])


def section(group: type[msgspec.Struct]) -> str:
    """Heading, sentence and table of a group; its docstring is a title, a colon and a sentence."""
    title, _, sentence = (group.__doc__ or "").partition(": ")
    rows = [row(field) for field in fields_of(group)]
    text = f"{sentence[:1].upper()}{sentence[1:]}"
    return "\n".join([f"## {title}", "", text, "", COLUMNS, "| --- " * 5 + "|", *rows, ""])


def row(field: SettingField) -> str:
    cells = (
        f"`{field.flag}`",
        ", ".join(variables(field)),
        limits(field),
        f"`{field.default_text}`" if field.default_text else "empty",
        FLAG.sub(r"`\g<0>`", field.description),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def limits(field: SettingField) -> str:
    if field.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in field.choices)
    return field.limits


def variables(field: SettingField) -> Iterator[str]:
    """The variables, with the values that another server calls by other names."""
    for variable in field.variables:
        renames = field.alias.values if field.alias and variable == field.alias.variable else {}
        shown = ", ".join(f"`{theirs}` is `{ours}`" for theirs, ours in renames.items())
        yield f"`{variable}`" + (f" ({shown})" if shown else "")


def renamed() -> Iterator[str]:
    yield from ("## Renamed settings", "")
    yield "The old flag and the old variable are refused, with the new name in the message."
    yield from ("", "| Old flag | New flag |", "| --- | --- |")
    for old, new in RENAMED.items():
        yield f"| `--{old.replace('_', '-')}` | `--{new.replace('_', '-')}` |"
    yield ""


if __name__ == "__main__":
    sys.exit(made_page("predictor/docs/configuration.md", page(), "configuration_page.py", __doc__))
