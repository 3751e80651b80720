"""`predictor rollout`: a new version that is brought in, or taken back, by itself."""

from typing import Any

from predictor.cli import rollout_controller, rollout_people, rollout_simulate

COMMANDS = (rollout_people, rollout_simulate, rollout_controller)


def add(commands: Any) -> None:
    parser = commands.add_parser("rollout", help="bring in a new version by itself")
    below = parser.add_subparsers(dest="rollout_command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(below)
