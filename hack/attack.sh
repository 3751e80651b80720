#!/usr/bin/env bash
# Usage: hack/attack.sh [--only NAME,...] [--url http://HOST:PORT --grpc-port PORT --key KEY --model NAME]
#
# Attacks a server with each program of tests/attack/programs.py in turn, and prints what a client
# that behaves well sees beside it, over REST and gRPC: answers, latencies, refusals, and the
# memory of the server. Without --url it starts a server of its own, in a memory cgroup of 1 GiB
# where one can be made (root). Takes three minutes. Attack only servers that are yours.
# Exit code 1: a vector was wrong.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu,test
fetch_model
export PREDICTOR_TEST_MODEL=${PREDICTOR_TEST_MODEL:-$PWD/$MODEL_DIR}
exec "$VENV/bin/python" -m tests.attack.latencies "$@"
