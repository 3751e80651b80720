"""Releases of earlier charts are upgraded on a real API server, with the command that is printed.

The charts come out of the history; test_upgrade.py shows the values of every commit without it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer
from tests.charts.earlier import CHARTS, NoHistory, commits, unpack, values_of
from tests.charts.test_upgrade import RENAMED, is_retired, leaves, sets_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

RELEASE = ("emb", "-n", helm.NAMESPACE)
KEEPING = "--reset-then-reuse-values"


@pytest.fixture(scope="module", params=list(commits()), ids=lambda commit: commit[:7])
def earlier_charts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A commit, and the folder with its charts."""
    try:
        return request.param, unpack(request.param, tmp_path_factory.mktemp("charts"))
    except NoHistory:
        pytest.skip(f"no history: this clone does not have commit {request.param}")


@pytest.fixture(autouse=True)
def no_release_is_left(api_server: ApiServer) -> Iterator[None]:
    yield
    helm.run("uninstall", *RELEASE, "--ignore-not-found", environment=api_server.environment)


@pytest.mark.parametrize(
    ("installs", "upgrades"), [("helm3", "helm3"), ("helm3", "helm"), ("helm", "helm")]
)
@pytest.mark.parametrize("chart", CHARTS)
def test_a_release_is_upgraded_and_keeps_what_was_set(
    api_server: ApiServer,
    earlier_charts: tuple[str, Path],
    chart: str,
    installs: str,
    upgrades: str,
) -> None:
    commit, folder = earlier_charts
    environment = api_server.environment
    # Of the runtime's, that which sets values that have another name now.
    name = "everything" if chart == helm.MODEL else "namespace"
    values = folder / chart / f"ci/{name}-values.yaml"
    helm.run(
        "install", *RELEASE, str(folder / chart), "--values", str(values),
        environment=environment, program=installs,
    )  # fmt: skip
    command = ["upgrade", *RELEASE, str(helm.CHARTS / chart), KEEPING]
    if any(is_retired(chart, leaf) for leaf in leaves(values_of(commit, chart)["users"][name])):
        with pytest.raises(helm.Refused) as refused:
            helm.run(*command, environment=environment, program=upgrades)
        match = RENAMED.search(str(refused.value))
        assert match is not None, refused.value
        command += helm.flags(sets_of(match["command"]), ())
    helm.run(*command, environment=environment, program=upgrades)
    # Once more, as any later change: what was taken back by null stays away.
    helm.run(*command[:6], environment=environment, program=upgrades)
    if chart == helm.MODEL:
        service = api_server.get("inferenceservice", "search-minilm")
        assert service["spec"]["predictor"]["minReplicas"] == 2
        assert service["spec"]["predictor"]["enableServiceLinks"] is False
    else:
        rules = api_server.get("prometheusrule", "emb-embedding-runtime")
        assert not re.search("EmbeddingQueue", str(rules))


@pytest.mark.parametrize("program", ["helm", "helm3"])
def test_reuse_values_is_refused_with_the_command(
    api_server: ApiServer, earlier_charts: tuple[str, Path], program: str
) -> None:
    """As the notes of the first charts print it. The later ones have every section."""
    commit, folder = earlier_charts
    if "steps" in values_of(commit, helm.MODEL)["defaults"].get("rollout", {}):
        return
    environment = api_server.environment
    needed = helm.flags(helm.NEEDED[helm.MODEL], ())
    helm.run(
        "install", *RELEASE, str(folder / helm.MODEL), *needed,
        environment=environment, program=program,
    )  # fmt: skip
    chart = str(helm.CHARTS / helm.MODEL)
    with pytest.raises(helm.Refused) as refused:
        helm.run(
            "upgrade", *RELEASE, chart, "--reuse-values", environment=environment, program=program
        )
    words = "helm upgrade emb charts/embedding-model -n search --reset-then-reuse-values"
    assert words in str(refused.value)
