"""`predictor rollout`: roll a new version out, or back, automatically."""

from typing import Any

from predictor.cli import rollout_commands, rollout_controller, rollout_simulate

COMMANDS = (rollout_commands, rollout_simulate, rollout_controller)


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "rollout", help="roll out a new version step by step, automatically"
    )
    subparsers = parser.add_subparsers(dest="rollout_command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(subparsers)
