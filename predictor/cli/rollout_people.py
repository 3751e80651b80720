"""`predictor rollout status`, `watch`, `promote` and so on: what kubectl does, for people."""

import argparse
import sys
import time
from datetime import UTC, datetime
from typing import Any

from predictor.cli.table import table
from predictor.errors import BadSetting
from predictor.rollout.spec import ACTION, ACTIONS, KIND, Action
from predictor.rollout.state import TERMINAL, State, read_state

EVERY_S = 1.0
WORDS: dict[Action, str] = {
    "resume": "go on after a pause",
    "promote": "make the canary stable now, without asking for figures",
    "abort": "take the canary back",
    "retry": "try a target that failed once more",
}


def add(below: Any) -> None:
    """The subcommands of `predictor rollout` that talk to a cluster."""
    status = _command(below, "status", "show how far a rollout is, and why")
    status.set_defaults(run=show)
    watch = _command(below, "watch", "show it live, until it ends")
    watch.set_defaults(run=follow)
    for action in ACTIONS:
        command = _command(below, action, WORDS[action])
        command.set_defaults(run=say, action=action)
    for name, paused, words in (
        ("pause", True, "stay at this step; what fails is still taken back"),
        ("unpause", False, "end that"),
    ):
        command = _command(below, name, words)
        command.set_defaults(run=set_paused, paused=paused)


def _command(below: Any, name: str, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = below.add_parser(name, help=words, description=words)
    command.add_argument("name", metavar="ROLLOUT")
    command.add_argument("-n", "--namespace", default="default")
    return command


def show(given: argparse.Namespace) -> int:
    """Print the state; the exit code is 1 if it failed. Raises BadSetting."""
    resource = _get(given)
    state = read_state(resource)
    print(told(resource, state))
    return int(state.phase == "Failed")


def follow(given: argparse.Namespace) -> int:
    """Print every new line of the history as it comes. Raises BadSetting."""
    shown = 0.0
    while True:
        resource = _get(given)
        state = read_state(resource)
        for move in state.history:
            if move.at > shown:
                print(f"{_at(move.at)}  {move.phase:<12} {move.weight:>3} %  {move.reason}")
                shown = move.at
        generation = resource["metadata"].get("generation")
        is_told = resource.get("status", {}).get("observedGeneration") == generation
        if state.phase in TERMINAL and is_told:
            return int(state.phase == "Failed")
        sys.stdout.flush()
        time.sleep(EVERY_S)


def say(given: argparse.Namespace) -> int:
    """Ask the controller for one thing. Raises BadSetting."""
    _patch(given, {"metadata": {"annotations": {ACTION: given.action}}})
    print(f"{given.name}: asked to {given.action}")
    return 0


def set_paused(given: argparse.Namespace) -> int:
    """Raises BadSetting."""
    _patch(given, {"spec": {"paused": given.paused}})
    print(f"{given.name}: {'paused' if given.paused else 'not paused any more'}")
    return 0


def told(resource: dict[str, Any], state: State) -> str:
    """The state, the last look and the history, as a person reads it."""
    spec = resource["spec"]
    target = spec.get("target", {})
    lines = [
        f"{spec.get('inferenceService')}: {state.phase}, canary {state.canary or '-'} "
        f"{state.weight} %",
        f"target   {target.get('storageUri')} as {target.get('name')}",
        f"because  {state.reason or 'nothing has happened yet'}",
    ]
    if state.measures:
        rows = [("", "verdict", "figures")]
        rows += [(one.name, one.verdict, one.text) for one in state.measures]
        lines += ["", f"last look {_at(state.looked)}", table(rows, left=(0, 1, 2))]
    if state.history:
        past = [("", "phase", "weight", "reason")]
        past += [(_at(m.at), m.phase, f"{m.weight} %", m.reason) for m in state.history]
        lines += ["", table(past, left=(0, 1, 3))]
    return "\n".join(lines)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _get(given: argparse.Namespace) -> dict[str, Any]:
    from predictor.controller.cluster import Cluster, ClusterError  # slow to load

    try:
        found = Cluster.connect().get(KIND, given.namespace, given.name)
    except ClusterError as error:
        raise BadSetting(f"rollout {given.name}: {error}") from error
    if found is None:
        raise BadSetting(f"there is no EmbeddingRollout {given.namespace}/{given.name}")
    return found


def _patch(given: argparse.Namespace, patch: dict[str, Any]) -> None:
    from predictor.controller.cluster import Cluster, ClusterError  # slow to load

    try:
        Cluster.connect().patch(KIND, given.namespace, given.name, patch)
    except ClusterError as error:
        raise BadSetting(f"rollout {given.name}: {error}") from error
