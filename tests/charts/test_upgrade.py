"""What a user of an earlier chart has set is taken over, or refused with the command to give.

`helm upgrade --reset-then-reuse-values` puts what the user had set over the defaults of the new
chart, as `helm template --values` does. `--reuse-values`, which earlier charts printed, keeps the
defaults of the earlier chart, too: those of a copy of the chart with the earlier values.yaml.
"""

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import helm
from tests.charts.earlier import CHARTS, commits, values_of

Values = dict[str, Any]

COMMAND = "helm upgrade emb charts/{chart} -n search --reset-then-reuse-values"
# Of a refusal of retired values: the sentence, and the command.
RENAMED = re.compile(r"(?P<sentence>\S+ is now .+); run: (?P<command>.+)")
EARLIER = [
    pytest.param(commit, chart, id=f"{commit[:7]}-{chart}")
    for commit in commits()
    for chart in CHARTS
]


def leaves(values: Values, path: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key


@cache
def present_leaves(chart: str) -> frozenset[str]:
    text = (helm.CHARTS / chart / "values.yaml").read_text(encoding="utf-8")
    return frozenset(leaves(yaml.safe_load(text)))


def deprecated(schema: Values, path: str = "") -> Iterator[str]:
    for key, part in schema.get("properties", {}).items():
        if part.get("deprecated"):
            yield path + key
        yield from deprecated(part, f"{path}{key}.")


@cache
def retired(chart: str) -> tuple[str, ...]:
    """Values that the schema lists for their refusal only."""
    schema = (helm.CHARTS / chart / "values.schema.json").read_text(encoding="utf-8")
    return tuple(deprecated(json.loads(schema)))


def is_retired(chart: str, leaf: str) -> bool:
    return any(f"{leaf}.".startswith(f"{name}.") for name in retired(chart))


def user_values() -> list[Any]:
    """What the ci files of earlier commits set, each content once, and none of the present ones."""
    present = [
        (chart, yaml.safe_load(path.read_text(encoding="utf-8")))
        for chart, path in helm.all_ci_files()
    ]
    cases = {
        f"{chart} {json.dumps(values)}": (chart, values, f"{commit[:7]}-{chart}-{name}")
        for commit in commits()
        for chart in CHARTS
        for name, values in values_of(commit, chart)["users"].items()
        if (chart, values) not in present
    }
    return [pytest.param(chart, values, id=name) for chart, values, name in cases.values()]


def upgraded(chart: str, values: Values, folder: Path) -> str:
    """Take the values over, with the command of the refusal if they are refused.

    Returns:
        The sentence of the refusal; nothing, if the values were taken over as they are.
    """
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    needed = () if "image" in values else helm.NEEDED[chart]
    try:
        assert helm.template(chart, *needed, files=(path,))
    except helm.Refused as refused:
        match = RENAMED.search(str(refused))
        if match is None:
            raise
        assert match["command"].startswith(COMMAND.format(chart=chart))
        assert helm.template(chart, *needed, *sets_of(match["command"]), files=(path,))
        return match["sentence"]
    return ""


def sets_of(command: str) -> list[str]:
    return [value for flag, value in itertools.pairwise(shlex.split(command)) if flag == "--set"]


@pytest.mark.parametrize(("chart", "user_set"), user_values())
def test_what_users_had_set_is_taken_over_or_refused_with_a_command_that_works(
    chart: str, user_set: Values, tmp_path: Path
) -> None:
    refused = upgraded(chart, user_set, tmp_path)
    assert bool(refused) == any(is_retired(chart, leaf) for leaf in leaves(user_set))


@pytest.mark.parametrize(("commit", "chart"), EARLIER)
def test_a_value_that_is_gone_is_known_to_the_schema_as_retired(commit: str, chart: str) -> None:
    """Else Helm would refuse it before the chart can name the new one."""
    removed = set(leaves(values_of(commit, chart)["defaults"])) - present_leaves(chart)
    assert [leaf for leaf in removed if not is_retired(chart, leaf)] == []


def last_default(chart: str, name: str) -> Any:
    """What a retired value was when it was still one."""
    for commit in reversed(commits()):
        value = values_of(commit, chart)["defaults"]
        for key in name.split("."):
            value = value.get(key, {})
        if value != {}:
            return value
    raise AssertionError(f"{name} was never a value of {chart}")


@pytest.mark.parametrize(
    ("chart", "name"), [(chart, name) for chart in CHARTS for name in retired(chart)]
)
def test_a_retired_value_is_refused_by_the_new_name(chart: str, name: str, tmp_path: Path) -> None:
    values = last_default(chart, name)
    for key in reversed(name.split(".")):
        values = {key: values}
    refused = upgraded(chart, values, tmp_path)
    assert refused.startswith(f"{name} is now ")
    named = re.findall(r"[a-z]\w*(?:\.\w+)+", refused.partition(" is now ")[2])
    assert named
    for new in named:
        assert any(f"{leaf}.".startswith(f"{new}.") for leaf in present_leaves(chart)), new


@pytest.mark.parametrize("program", ["helm", "helm3"])
@pytest.mark.parametrize(("commit", "chart"), EARLIER)
def test_with_the_defaults_of_an_earlier_chart_too_the_command_is_named(
    commit: str, chart: str, program: str, tmp_path: Path
) -> None:
    """Helm renders the template that says so before those that would fail on what is missing."""
    copied = tmp_path / chart
    shutil.copytree(helm.CHARTS / chart, copied)
    defaults = values_of(commit, chart)["defaults"]
    (copied / "values.yaml").write_text(yaml.safe_dump(defaults), encoding="utf-8")
    sections = (helm.CHARTS / chart / "files/sections.txt").read_text(encoding="utf-8").split()
    paths = list(leaves(defaults))
    missing = [s for s in sections if not any(path.startswith(f"{s}.") for path in paths)]
    arguments = ["template", "emb", str(copied), "-n", helm.NAMESPACE]
    arguments += helm.flags(helm.NEEDED[chart], ())
    if not missing and not any(is_retired(chart, path) for path in paths):
        assert helm.run(*arguments, program=program)
        return
    with pytest.raises(helm.Refused) as refused:
        helm.run(*arguments, program=program)
    words = f"the values have no {missing[0]}: " if missing else " is now "
    assert words in str(refused.value)
    assert COMMAND.format(chart=chart) in str(refused.value)


@pytest.mark.parametrize("chart", CHARTS)
def test_an_upgrade_that_drops_required_values_names_the_flag_that_keeps_them(chart: str) -> None:
    """As `helm upgrade --set ...` does without it."""
    path = str(helm.CHARTS / chart)
    with pytest.raises(helm.Refused) as refused:
        helm.run("template", "emb", path, "-n", helm.NAMESPACE, "--is-upgrade")
    assert f"of the release: {COMMAND.format(chart=chart)}\n" in str(refused.value)


def test_the_first_charts_lack_what_the_present_ones_need() -> None:
    """Else the test above would show nothing."""
    first, *_ = commits()
    for chart in CHARTS:
        assert "steps" not in values_of(first, chart)["defaults"].get("rollout", {})
    assert retired(helm.RUNTIME)


# Pages, notes, refusals and scripts: whatever prints a command.
PRINTING = (
    "*.md", "charts/**/*.md", "charts/**/*.tpl", "charts/**/*.txt", "charts/**/*.yaml", "hack/*.md",
    "hack/*.sh", "manifests/**/*.md", "predictor/**/*.md", "predictor/**/*.py",
)  # fmt: skip
UPGRADE = re.compile(r"helm upgrade (?!--install)[^`\n]*charts/([^`\n]*\\\n)*[^`\n]*")


def printed() -> Iterator[tuple[Path, str]]:
    for path in itertools.chain.from_iterable(map(helm.ROOT.glob, PRINTING)):
        yield path, path.read_text(encoding="utf-8")


def test_every_printed_upgrade_keeps_what_was_set_and_no_earlier_default() -> None:
    commands = [match[0] for _, text in printed() for match in UPGRADE.finditer(text)]
    assert len(commands) >= 6
    assert [c for c in commands if "--reset-then-reuse-values" not in c] == []


def test_reuse_values_is_given_nowhere_but_named_where_it_is_refused() -> None:
    naming = {path.name for path, text in printed() if "--reuse-values" in text}
    assert naming == {"_upgrade.tpl", "README.md", "decisions.md"}
