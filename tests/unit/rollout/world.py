"""A small cluster that can go wrong in every way, and a controller that asks `decide` about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from predictor.rollout.decide import Decision, decide, is_due
from predictor.rollout.intents import Intent, Promote, Remove, SetCanary
from predictor.rollout.judge import combined
from predictor.rollout.observation import Canary, Observation, Service
from predictor.rollout.pods import pods_for
from predictor.rollout.spec import (
    Action,
    Analysis,
    Limit,
    Limits,
    Spec,
    Step,
    Target,
    Vectors,
)
from predictor.rollout.state import Measurement, State, Verdict

OLD, NEW, OTHER = "pvc://models/1", "pvc://models/2", "pvc://models/other"
MINUTE = 60.0


def make_spec(**changes: object) -> Spec:
    """Short: three steps of a minute, patience of three."""
    spec = Spec(
        inference_service="emb",
        target=Target(storage_uri=NEW, name="v2"),
        steps=(Step(weight=10, hold="1m"), Step(weight=50, hold="1m"), Step(weight=100, hold="1m")),
        analysis=Analysis(interval="30s", failures=2, vectors=Vectors()),
        limits=Limits(
            progress_deadline="2m",
            error=Limit(after="3m", then="Hold"),
            inconclusive=Limit(after="5m", then="Hold"),
        ),
    )
    return replace(spec, **changes)


def measured(verdict: Verdict) -> tuple[Measurement, ...]:
    return (Measurement("errors", verdict, "figures"),)


def service(
    weight: int | None = None,
    *,
    routed: int | None = -1,
    ready: int = 4,
    pods: int = 4,
    uri: str = NEW,
    stable: str = OLD,
    settled: bool = True,
) -> Service:
    """Weight None: no canary. routed -1: as the weight."""
    canary = None
    if weight is not None:
        canary = Canary("v2", uri, weight, weight if routed == -1 else routed, ready)
    return Service("v1", stable, "", pods, canary, settled)


@dataclass(slots=True)
class World:
    """One InferenceService. ready_s, route_s: delays; None: never.

    What it is asked for is done a while later, each by its own delay.
    """

    ready_s: float | None = 20.0
    route_s: float | None = 5.0
    pods: int = 4
    now: float = 1_000_000.0
    exists: bool = True
    stable_uri: str = OLD
    canary_uri: str | None = None
    weight: int = 0
    routed: int = 0
    conflicting_rollout: str = ""
    unsupported_reason: str = ""
    replicas: int = 0
    ready: int = 0
    touched: bool = False
    _routed_in: float | None = None
    _ready_in: list[float] = field(default_factory=list)

    def service(self) -> Service | None:
        if not self.exists:
            return None
        canary = None
        settled = self.routed == self.weight
        if self.canary_uri is not None:
            routed = self.routed if settled else None
            canary = Canary("v2", self.canary_uri, self.weight, routed, self.ready)
        return Service("v1", self.stable_uri, "", self.pods, canary, settled)

    def wait(self, given_s: float) -> None:
        """Real time passes; the clock is another matter."""
        if self._routed_in is not None:
            self._routed_in -= given_s
            if self._routed_in <= 0:
                self.routed, self._routed_in = self.weight, None
        self._ready_in = [left - given_s for left in self._ready_in]
        self.ready += sum(left <= 0 for left in self._ready_in)
        self._ready_in = [left for left in self._ready_in if left > 0]

    def set_weight(self, weight: int) -> None:
        if weight != self.weight:
            self.weight, self._routed_in = weight, self.route_s

    def put_canary(self, uri: str) -> None:
        self.canary_uri = uri
        self.replicas = self.ready = 0
        self._ready_in = []

    def drop_canary(self) -> None:
        self.canary_uri = None
        self.weight = self.routed = self.replicas = self.ready = 0
        self._routed_in, self._ready_in = None, []

    def kill_pods(self) -> None:
        """They come again, if pods ever get ready."""
        self._ready_in += [self.ready_s] * self.ready if self.ready_s is not None else []
        self.ready = 0

    def apply(self, intent: Intent) -> None:
        if not self.exists:
            return
        match intent:
            case SetCanary(weight, replicas):
                if self.canary_uri is None:
                    self.put_canary(NEW)
                missing = replicas - self.replicas
                if missing > 0:
                    self.replicas = replicas
                    self._ready_in += [self.ready_s] * missing if self.ready_s is not None else []
                self.set_weight(weight)
            case Promote():
                assert self.canary_uri is not None
                self.stable_uri = self.canary_uri
                self.drop_canary()
            case Remove():
                self.drop_canary()


@dataclass(slots=True)
class Controller:
    """Writes the state and then does what follows, as the real one does; it may die between."""

    spec: Spec
    world: World
    state: State = field(default_factory=State)

    def is_due(self) -> bool:
        """As the controller asks it."""
        service = self.world.service()
        return service is not None and is_due(self.spec, self.state, service, self.world.now)

    def observe(self, verdict: Verdict | None, action: Action | None = None) -> Observation:
        measurements = measured(verdict) if verdict is not None and self.is_due() else ()
        world = self.world
        return Observation(
            world.service(),
            measurements,
            world.conflicting_rollout,
            action,
            world.unsupported_reason,
        )

    def turn(self, observation: Observation, dies: str = "") -> Decision:
        """dies: `before` it writes, `between` writing and acting, or not at all.

        Checks what must hold in every turn.
        """
        decision = decide(self.spec, self.state, observation, self.world.now)
        check_turn(self.spec, self.state, decision, observation, self.world)
        check_again(self.spec, decision, observation, self.world.now)
        if dies != "before":
            self.state = decision.state
            if dies != "between":
                self.world.apply(decision.intent)
        return decision

    def turns(
        self, count: int, verdicts: Iterator[Verdict], given_s: float = 10.0
    ) -> Iterator[Decision]:
        for _ in range(count):
            self.world.wait(given_s)
            self.world.now += given_s
            yield self.turn(self.observe(next(verdicts) if self.is_due() else None))


def check_turn(
    spec: Spec, before: State, decision: Decision, observation: Observation, world: World
) -> None:
    """What holds in one turn, whatever is seen."""
    after, intent = decision.state, decision.intent
    canary = observation.service.canary if observation.service else None
    weight = canary.weight if canary else 0
    verdict = combined(observation.measurements) if observation.measurements else None
    assert 0 <= after.weight <= 100
    if after.weight > max(before.weight, weight):
        assert verdict == "Successful" or observation.action == "promote", (before, after)
    if verdict == "Failed" and observation.action != "promote":
        assert after.weight <= max(before.weight, weight)
        assert not isinstance(intent, Promote)
    if (
        before.phase == "Failed"
        and observation.action != "retry"
        and before.target == spec.target.key
    ):
        assert (after.phase, after.reason) == ("Failed", before.reason)
        assert not isinstance(intent, SetCanary | Promote | Remove)
    if isinstance(intent, SetCanary):
        assert 0 <= intent.weight <= 100
        assert intent.replicas >= 1
        if observation.service and intent.weight > weight:
            assert canary is not None
            assert canary.ready >= pods_for(after, intent.weight)
    if isinstance(intent, Promote):
        assert canary is not None
        assert (canary.routed, world.routed) == (100, 100)
        assert after.weight_applied_at is not None
        assert world.now - after.weight_applied_at >= 3
    if isinstance(intent, Remove):
        assert canary is not None
        assert (canary.routed, world.routed) == (0, 0)


def check_again(spec: Spec, decision: Decision, observation: Observation, now: float) -> None:
    """A controller that takes over sees the same and comes to the same, soon and for good."""
    chain = [decision]
    for _ in range(8):  # a changed target that is then aborted takes six
        chain.append(decide(spec, chain[-1].state, observation, now))
        if chain[-1] == chain[-2]:
            break
    assert chain[-1] == chain[-2], "it does not come to rest"
    failures = [step.state.consecutive_failures for step in chain]
    assert max(failures) - failures[0] <= 1, "one look was counted twice"
    weights = sorted(
        {step.state.weight for step in chain if step.state.weight > chain[0].state.weight}
    )
    assert len(weights) <= 1, "one look led to two steps"
    if (
        observation.action is None
        and chain[1].state.phase == decision.state.phase == chain[-1].state.phase
    ):
        assert chain[1].intent == decision.intent
