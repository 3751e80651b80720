"""`predictor rollout controller`: the controller of EmbeddingRollouts."""

import argparse
from typing import Any

from predictor.cli.arguments import examples

EXAMPLES = """
examples:
  predictor rollout controller --prometheus http://prometheus.monitoring:9090
  predictor rollout controller --namespace search --prometheus http://localhost:9090
"""


def add(subparsers: Any) -> None:
    command = subparsers.add_parser(
        "controller",
        help="run the controller of EmbeddingRollouts",
        description="Run the controller of EmbeddingRollouts in this cluster, or in that of "
        "KUBECONFIG.\nIf there are several replicas, one is the leader and the others wait.",
        **examples(EXAMPLES),
    )
    command.add_argument(
        "--namespace", default="", help="Namespace of the rollouts. [default: all namespaces]"
    )
    command.add_argument("--prometheus", required=True, metavar="URL", help="Prometheus base URL.")
    command.add_argument(
        "--prometheus-token-file",
        default="",
        metavar="FILE",
        help="File with the bearer token for Prometheus.",
    )
    command.add_argument(
        "--api-key-file",
        default="",
        metavar="FILE",
        help="File with the API key for the models, if they require one.",
    )
    command.add_argument(
        "--admin-token-file",
        default="",
        metavar="FILE",
        help="File with the admin token of the servers, for rollouts with `shadow`.",
    )
    command.add_argument(
        "--lease-name",
        default="predictor-rollout",
        metavar="NAME",
        help="Name of the Lease that the leader holds. [default: predictor-rollout]",
    )
    command.add_argument(
        "--lease-namespace",
        default="",
        metavar="NAMESPACE",
        help="Namespace of the Lease. [default: the namespace of the pod]",
    )
    command.add_argument(
        "--port",
        type=int,
        default=8080,
        metavar="N",
        help="Port of /metrics and /healthz. [default: 8080]",
    )
    command.add_argument(
        "--log-format",
        default="json",
        choices=("json", "text"),
        help="Format of the log. [default: json]",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until a signal ends it; returns the exit code of the process.

    Raises:
        BadSetting: an argument is wrong, or there is no cluster to connect to.
    """
    from predictor.controller.process import Controller, Options  # slow to load
    from predictor.logs import configure

    configure(args.log_format, "info")
    options = Options(
        prometheus=args.prometheus,
        namespace=args.namespace,
        lease_name=args.lease_name,
        lease_namespace=args.lease_namespace,
        port=args.port,
        api_key_file=args.api_key_file,
        prometheus_token_file=args.prometheus_token_file,
        admin_token_file=args.admin_token_file,
    )
    return Controller(options).run()
