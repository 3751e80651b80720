"""`predictor rollout status`, `watch`, `promote` and the others: commands for operators."""

import argparse
import sys
import time
from datetime import UTC, datetime
from typing import Any

from predictor.cli.reports.table import table
from predictor.errors import BadSetting
from predictor.rollout.spec import ACTION, ACTIONS, KIND, Action
from predictor.rollout.state import TERMINAL, State
from predictor.rollout.status import read_state

POLL_INTERVAL_S = 1.0
WORDS: dict[Action, str] = {
    "resume": "continue after a pause step",
    "promote": "make the canary the stable version now, without further analysis",
    "abort": "abort the rollout and roll the canary back",
    "retry": "try a failed target again",
}


def add(subparsers: Any) -> None:
    """Add the subcommands of `predictor rollout` that access a cluster."""
    status = _command(subparsers, "status", "show the state of a rollout and the reason for it")
    status.set_defaults(run=show)
    watch = _command(subparsers, "watch", "show every phase transition until the rollout ends")
    watch.set_defaults(run=follow)
    for action in ACTIONS:
        command = _command(subparsers, action, WORDS[action])
        command.set_defaults(run=request_action, action=action)
    for name, paused, words in (
        ("pause", True, "pause at this step; a failing canary is still rolled back"),
        ("unpause", False, "continue a rollout that was paused"),
    ):
        command = _command(subparsers, name, words)
        command.set_defaults(run=set_paused, paused=paused)


def _command(subparsers: Any, name: str, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = subparsers.add_parser(name, help=words, description=words)
    command.add_argument("name", metavar="ROLLOUT", help="Name of the EmbeddingRollout.")
    command.add_argument(
        "-n",
        "--namespace",
        default="default",
        metavar="NAMESPACE",
        help="Namespace of the rollout. [default: default]",
    )
    return command


def show(args: argparse.Namespace) -> int:
    """Print the state; the exit code is 1 if the rollout failed. Raises BadSetting."""
    resource = _get(args)
    state = read_state(resource)
    print(as_text(resource, state))
    return int(state.phase == "Failed")


def follow(args: argparse.Namespace) -> int:
    """Print every new transition as it appears. Raises BadSetting."""
    shown = 0.0
    while True:
        resource = _get(args)
        state = read_state(resource)
        for item in state.transitions:
            if item.time > shown:
                print(f"{_clock(item.time)}  {item.phase:<12} {item.weight:>3} %  {item.message}")
                shown = item.time
        generation = resource["metadata"].get("generation")
        is_observed = resource.get("status", {}).get("observedGeneration") == generation
        if state.phase in TERMINAL and is_observed:
            return int(state.phase == "Failed")
        sys.stdout.flush()
        time.sleep(POLL_INTERVAL_S)


def request_action(args: argparse.Namespace) -> int:
    """Request an action from the controller. Raises BadSetting."""
    _patch(args, {"metadata": {"annotations": {ACTION: args.action}}})
    print(f"{args.name}: {args.action} requested")
    return 0


def set_paused(args: argparse.Namespace) -> int:
    """Set `spec.paused`. Raises BadSetting."""
    _patch(args, {"spec": {"paused": args.paused}})
    print(f"{args.name}: {'paused' if args.paused else 'no longer paused'}")
    return 0


def as_text(resource: dict[str, Any], state: State) -> str:
    """The state, the last analysis and the transitions as text."""
    spec = resource["spec"]
    target = spec.get("target", {})
    lines = [
        f"{spec.get('inferenceService')}: {state.phase}, canary {state.canary or '-'} "
        f"{state.served_weight} %"
        + (f" (should be {state.weight} %)" if state.weight != state.served_weight else ""),
        f"target   {target.get('storageUri')} as {target.get('name')}",
        f"reason   {state.reason}: {state.message or 'the controller has not acted yet'}",
    ]
    if state.write_error:
        lines.append(f"refused  {state.write_error}")
    if state.measurements:
        rows = [("", "verdict", "measurement")]
        rows += [(item.name, item.verdict, item.message) for item in state.measurements]
        last = f"last analysis {_clock(state.last_analysis_time)}"
        lines += ["", last, table(rows, left=(0, 1, 2))]
    if state.transitions:
        past = [("", "phase", "weight", "message")]
        past += [
            (_clock(item.time), item.phase, f"{item.weight} %", item.message)
            for item in state.transitions
        ]
        lines += ["", table(past, left=(0, 1, 3))]
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    """Time of day, UTC, of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _get(args: argparse.Namespace) -> dict[str, Any]:
    from predictor.controller.cluster import Cluster, ClusterError  # slow to load

    try:
        resource = Cluster.connect().get(KIND, args.namespace, args.name)
    except ClusterError as error:
        raise BadSetting(f"rollout {args.name}: {error}") from error
    if resource is None:
        raise BadSetting(f"no such EmbeddingRollout: {args.namespace}/{args.name}")
    return resource


def _patch(args: argparse.Namespace, patch: dict[str, Any]) -> None:
    from predictor.controller.cluster import Cluster, ClusterError  # slow to load

    try:
        Cluster.connect().patch(KIND, args.namespace, args.name, patch)
    except ClusterError as error:
        raise BadSetting(f"rollout {args.name}: {error}") from error
