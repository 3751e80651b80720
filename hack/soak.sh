#!/usr/bin/env bash
# Usage: hack/soak.sh [--minutes N] [--seed N]
#
# Runs a server in a memory cgroup of 1 GiB for an hour (--minutes) under mixed traffic, the attacks
# of tests/attack/programs.py, new versions, and a Redis that is stopped and started, and prints its
# memory by minute, what clients got, and their latencies. Needs redis-server; root for the cgroup.
# Exit code 1: the memory was not within 2 % after the first third, a vector was wrong, or an answer
# was neither 200 nor a refusal for overload.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu,test
fetch_model
export PREDICTOR_TEST_MODEL=${PREDICTOR_TEST_MODEL:-$PWD/$MODEL_DIR}
exec "$VENV/bin/python" -m tests.attack.soak "$@"
