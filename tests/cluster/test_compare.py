"""Two versions side by side: copies of live texts first, then users and headers through Envoy."""

import collections
import contextlib
import http.client
import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from predictor.rollout.spec import ACTION
from tests.cluster.api import Api, Object, wait_for
from tests.cluster.conftest import NAMESPACE
from tests.cluster.grpc_client import infer
from tests.cluster.load import Load
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import ADMIN, CLAIM, Release, secret
from tests.cluster.rolling import answering, controlled, ended, kubectl, set_target, status

pytestmark = [pytest.mark.cluster, pytest.mark.e2e, pytest.mark.timeout(900)]

SHARE = 20
USER, VERSION = "X-User-Id", "X-Version"
ROLLOUT = {
    "strategy": "Compare",
    "compare": {"userHeader": USER, "versionHeader": VERSION},
    "steps": [{"weight": SHARE, "hold": "10s"}],
    "shadow": {"enabled": True, "share": 1.0, "hold": "10s", "minTexts": 200},
}


@pytest.fixture(scope="module")
def compared(
    cluster: Api,
    prometheus: Prometheus,
    gateway: str,
    model_values: Object,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """Version 1, and version 2 beside it: with a share of the users, until somebody is told."""
    del prometheus  # the controller asks it
    release = controlled(
        cluster, NAMESPACE, tmp_path_factory.mktemp("compared"), model_values,
        autoscaling={"mode": "none", "minReplicas": 2}, rollout=ROLLOUT,
        access={"adminTokenSecret": {"name": ADMIN}},
    )  # fmt: skip
    with answering(gateway, release) as installed:
        with Load(gateway, installed.host, "minilm", unique=True) as load:
            set_target(installed, f"pvc://{CLAIM}/v2", "v2")
            wait_for("both", lambda: status(installed).get("phase") == "Comparing", 240.0)
            wait_for("more answers", load.settled, 30.0)
        load.check_served(route_changes=1)
        yield installed


def ask(gateway: str, release: Release, **headers: str) -> httpx.Response:
    """One request; `x_version` is the header `x-version`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"model": "minilm", "input": "guitar"}
    url = f"http://{gateway}/v1/embeddings"
    return httpx.post(url, json=body, headers={"Host": release.host, **named}, timeout=20.0)


def versions(gateway: str, release: Release, many: list[dict[str, str]]) -> list[str]:
    """Who answered each of many requests on one connection."""
    connection = http.client.HTTPConnection(gateway, 80, timeout=20.0)
    answered = []
    for headers in many:
        body = json.dumps({"model": "minilm", "input": "guitar"})
        request_headers = {"Host": release.host, "Content-Type": "application/json", **headers}
        connection.request("POST", "/v1/embeddings", body, request_headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        answered.append(answer.headers["X-Model-Version"])
    connection.close()
    return answered


def test_copies_of_live_texts_came_first(
    compared: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 texts and ten seconds of them, before anybody had an answer of version 2."""
    transitions = status(compared)["transitions"]
    first = next(transition for transition in transitions if transition["phase"] == "Progressing")
    (measure,) = (m for m in first["measurements"] if m["name"] == "shadow")
    with capsys.disabled():
        print(f"\n{measure['text']}")
    assert measure["verdict"] == "Successful"
    preparing = [item["weight"] for item in transitions if item["phase"] == "Preparing"]
    assert preparing == [0]


def test_a_header_chooses_the_version(compared: Release, gateway: str) -> None:
    sides = [{VERSION: side} for side in ("canary", "stable")] * 50
    assert versions(gateway, compared, sides) == ["2", "1"] * 50


def test_the_header_counts_in_grpc_too(compared: Release, gateway: str) -> None:
    for side, version in (("canary", "2"), ("stable", "1")) * 5:
        reply = infer(f"{gateway}:80", compared.host, "guitar", x_version=side)
        assert reply.model_version == version


def test_a_user_always_gets_the_same_version_and_a_share_of_the_users_the_new_one(
    compared: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [str(uuid.uuid4()) for _ in range(500)]
    rounds = [versions(gateway, compared, [{USER: user} for user in users]) for _ in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]
    count = collections.Counter(rounds[0])
    with capsys.disabled():
        print(f"\n{count['2']} of {len(users)} users have version 2, asked for {SHARE} %")
    assert count["2"] / len(users) == pytest.approx(SHARE / 100, abs=0.06)


def test_who_has_no_header_goes_by_weight(compared: Release, gateway: str) -> None:
    count = collections.Counter(versions(gateway, compared, [{}] * 1000))
    assert count["2"] / 1000 == pytest.approx(SHARE / 100, abs=0.05)


def test_a_header_is_no_way_round_the_gateways_keys(compared: Release, gateway: str) -> None:
    compared.api.ensure(secret("keys", NAMESPACE, client="a-key"))
    with_keys = {"enabled": True, "apiKeys": {"enabled": True, "secretName": "keys"}}
    before = compared.values["gateway"]
    compared.upgrade(gateway=with_keys)
    try:
        wait_for("keys", lambda: ask(gateway, compared).status_code == 401, 30.0)
        for side in ("canary", "stable"):
            assert ask(gateway, compared, x_version=side).status_code == 401
            known = ask(gateway, compared, x_version=side, x_api_key="a-key")
            assert known.status_code == 200
        assert ask(gateway, compared, x_user_id="ada-00").status_code == 401
    finally:
        compared.upgrade(gateway=before)
        wait_for("no keys", lambda: ask(gateway, compared).status_code == 200, 30.0)


def test_told_to_promote_it_loses_nobody_whatever_the_header(
    compared: Release, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    headers: list[dict[str, str]] = [{VERSION: "canary"}, {VERSION: "stable"}, {USER: "ada-00"}, {}]
    loads = [
        Load(gateway, compared.host, "minilm", clients=1, headers=header) for header in headers
    ]
    with contextlib.ExitStack() as running:
        for load in loads:
            running.enter_context(load)
        wait_for("good answers", lambda: all(load.settled(20) for load in loads), 30.0)
        kubectl("annotate", "er", "minilm", f"{ACTION}=promote")
        status = ended(compared, "v2")
        enough = min(len(load.answers) for load in loads) + 50
        wait_for("answers", lambda: all(len(load.answers) > enough for load in loads), 60.0)
    with capsys.disabled():
        lines = (f"{header}: {load.summary()}" for header, load in zip(headers, loads, strict=True))
        print("", *lines, sep="\n")
    assert (status["phase"], status["reason"]) == ("Succeeded", "Promoted")
    for load in loads:
        load.check_served(route_changes=2)  # the header's route goes, and the canary is promoted
        assert [answer.version for answer in load.answers[-20:]] == ["2"] * 20
    assert compared.api.get("HTTPRoute", "minilm-compare", NAMESPACE) is None
