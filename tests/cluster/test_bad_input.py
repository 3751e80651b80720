"""What no chart can see at install: the sentence that a person then reads, and where."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import kit as kits
from tests.cluster import release
from tests.cluster.api import Api, wait_for
from tests.cluster.conftest import NAMESPACE
from tests.cluster.release import Release

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GPU = {"cpu": "100m", "memory": "400Mi", "nvidia.com/gpu": 1}


@pytest.fixture
def broken(cluster: Api, tmp_path: Path) -> Iterator[Release]:
    """A release that is not installed yet, and gone afterwards."""
    made = Release(
        cluster, "broken", NAMESPACE, tmp_path,
        {
            "image": {"repository": kits.REPOSITORY, "tag": kits.TAG},
            "model": {"storageUri": f"pvc://{release.CLAIM}/v1"},
            "resources": release.RESOURCES,
        },
    )  # fmt: skip
    yield made
    made.uninstall()


def events(model: Release) -> str:
    """What `kubectl describe pods` shows of its pods."""
    listed = model.api.list("Event", model.namespace)
    ours = [e for e in listed if e["involvedObject"].get("name", "").startswith(model.name)]
    return "\n".join(str(event.get("message")) for event in ours)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"model": {"storageUri": "pvc://nowhere/v1"}},
            'persistentvolumeclaim "nowhere" not found',
        ),
        ({"access": {"apiKeysSecret": {"name": "gone"}}}, 'secret "gone" not found'),
        ({"resources": {"requests": GPU, "limits": GPU}}, "Insufficient nvidia.com/gpu"),
        ({"image": {"repository": "localhost/nothing", "tag": "1"}}, "localhost/nothing:1"),
    ],
)
def test_its_pods_say_what_is_missing(broken: Release, changed: dict[str, Any], words: str) -> None:
    broken.upgrade(**changed)
    wait_for(words, lambda: words in events(broken), 60.0, 0.5)
    assert broken.ready_pods() == []


def test_a_folder_that_is_no_model_is_said_in_the_log(broken: Release) -> None:
    """The container ends; its last words are one sentence, without a traceback."""
    broken.upgrade(model={"storageUri": f"pvc://{release.CLAIM}/v1/1/nothing"})

    def last_words() -> str | None:
        pods = broken.pods()
        log = broken.api.log(pods[0]["metadata"]["name"], NAMESPACE) if pods else ""
        return log or None

    log = wait_for("its last words", last_words, 90.0, 0.5)
    assert "Traceback" not in log
    assert "/mnt/models" in log


def test_a_runtime_that_is_not_there_is_in_the_status(broken: Release) -> None:
    broken.upgrade(runtime={"name": "no-such-runtime"})

    def info() -> dict[str, Any] | None:
        status = broken.service().get("status", {})
        failure: dict[str, Any] | None = status.get("modelStatus", {}).get("lastFailureInfo")
        return failure

    assert wait_for("the reason", info, 30.0)["reason"] == "RuntimeNotRecognized"
