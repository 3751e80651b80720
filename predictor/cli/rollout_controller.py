"""`predictor rollout controller`: the process that carries rollouts out."""

import argparse
from typing import Any

from predictor.cli.arguments import examples
from predictor.logs import configure

EXAMPLES = """
examples:
  predictor rollout controller --prometheus http://prometheus.monitoring:9090
  predictor rollout controller --namespace search --prometheus http://localhost:9090
"""


def add(below: Any) -> None:
    command = below.add_parser(
        "controller",
        help="carry rollouts out (one leads, others wait)",
        description="Carry EmbeddingRollouts out, in this cluster or by KUBECONFIG.",
        **examples(EXAMPLES),
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--namespace", default="", help="of the rollouts [default: all]")
    where.add_argument("--all-namespaces", action="store_true", help="that, said aloud")
    command.add_argument("--prometheus", required=True, metavar="URL", help="whom to ask")
    command.add_argument(
        "--prometheus-token-file", default="", metavar="FILE", help="bearer token for it"
    )
    command.add_argument(
        "--api-key-file",
        default="",
        metavar="FILE",
        help="API key for the models, if they want one",
    )
    command.add_argument(
        "--admin-token-file",
        default="",
        metavar="FILE",
        help="the servers' admin token, for rollouts with `shadow`",
    )
    command.add_argument("--lease-name", default="predictor-rollout", help="who leads has it")
    command.add_argument("--lease-namespace", default="", help="[default: the pod's own]")
    command.add_argument("--port", type=int, default=8080, help="of /metrics and /healthz")
    command.add_argument("--log-format", default="json", choices=("json", "text"))
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Returns the process's exit code. Raises BadSetting."""
    from predictor.controller.process import Controller, Options  # slow to load

    configure(given.log_format, "info")
    options = Options(
        prometheus=given.prometheus,
        namespace=given.namespace,
        lease_name=given.lease_name,
        lease_namespace=given.lease_namespace,
        port=given.port,
        api_key_file=given.api_key_file,
        prometheus_token_file=given.prometheus_token_file,
        admin_token_file=given.admin_token_file,
    )
    return Controller(options).run()
