#!/usr/bin/env bash
# Usage: hack/clients.sh [FAMILY ...]
#
# Runs clients of other projects, unchanged and at the pinned versions of tests/clients/families.toml,
# against a server of its own, and writes what works into predictor/docs/clients.md. Families whose
# packages are not those of the tests get environments of their own in .cache/clients (1.5 GB in
# all). Without a name every family; a family that cannot be installed keeps its rows.
# PYTHON names an interpreter that has the package's dependencies; without it .venv is made.
# Exit code 1: a check failed, or a family could not be run.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

if [[ -z ${PYTHON:-} ]]; then
  install_package cpu,test
  PYTHON=$VENV/bin/python
fi
fetch_model
exec nice -n 19 "$PYTHON" -m tests.clients "$@"
