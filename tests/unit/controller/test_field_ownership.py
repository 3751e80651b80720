"""The controller gives up the fields that it owns, and nobody else's."""

from typing import Any

from predictor.controller.cluster import Cluster
from predictor.controller.field_ownership import EARLIER_MANAGER, MANAGER, released
from tests.unit.controller.stories import controller, play, rollout, service
from tests.unit.controller.world import NAMESPACE, World


def entry(manager: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {}}}


def test_only_the_controllers_entries_are_removed() -> None:
    entries = [entry(name) for name in ("helm", MANAGER, "kserve", EARLIER_MANAGER)]
    item = {"metadata": {"resourceVersion": "7", "managedFields": entries}}
    patch = released(item)
    assert patch == {
        "metadata": {
            "resourceVersion": "7",
            "managedFields": [entry("helm"), entry("kserve")],
        }
    }


def test_nothing_is_written_where_it_owns_nothing() -> None:
    metadata = {"resourceVersion": "7", "managedFields": [entry("helm")]}
    assert released({"metadata": metadata}) is None
    assert released({"metadata": {"resourceVersion": "7"}}) is None


def test_the_last_entry_is_replaced_by_an_empty_one() -> None:
    """The API server ignores an empty list."""
    metadata = {"resourceVersion": "7", "managedFields": [entry(MANAGER)]}
    patch = released({"metadata": metadata})
    assert patch is not None
    assert patch["metadata"]["managedFields"] == [{}]


def test_every_write_names_the_manager() -> None:
    queries: list[Any] = []

    class Client:
        def param_serialize(self, method: str, path: str, **named: Any) -> tuple[Any, ...]:
            queries.append((method, named["query_params"]))
            return ()

        def call_api(self, **_: Any) -> Any:
            class Response:
                status = 200

                @staticmethod
                def read() -> bytes:
                    return b"{}"

            return Response

    cluster = Cluster(Client())
    cluster.patch("InferenceService", "ns", "emb", {})
    cluster.create("Event", "ns", {})
    cluster.get("Deployment", "ns", "emb")
    assert queries == [
        ("PATCH", [("fieldManager", MANAGER)]),
        ("POST", [("fieldManager", MANAGER)]),
        ("GET", []),
    ]


def test_the_fields_are_given_back_at_the_end_and_not_before() -> None:
    world = World()
    world.put(service())
    world.put(rollout(steps=[{"weight": 50, "hold": "10s"}]))

    def managers(world: World) -> list[str]:
        entries = world.service()["metadata"].get("managedFields", [])
        return [item["manager"] for item in entries]

    play(world, until=lambda state: state.weight == 50)
    entries = [entry("helm"), entry(MANAGER)]
    world.edit("InferenceService", "minilm", {"metadata": {"managedFields": entries}})
    play(world)
    assert managers(world) == ["helm", MANAGER]
    for _ in range(3):
        play(world, until=lambda state: True, rounds=1)
    assert managers(world) == ["helm"]


def test_the_fields_are_given_back_when_the_rollout_is_deleted() -> None:
    world = World()
    world.put(service())
    world.put(rollout())
    play(world, until=lambda state: state.weight == 5)
    entries = [entry("helm"), entry(MANAGER)]
    world.edit("InferenceService", "minilm", {"metadata": {"managedFields": entries}})
    running = controller(world)
    running.reconcile()
    del world.objects["EmbeddingRollout", NAMESPACE, "minilm"]
    running.reconcile()
    (left,) = world.service()["metadata"]["managedFields"]
    assert left["manager"] == "helm"
