#!/usr/bin/env bash
# Usage: hack/test.sh [PYTEST ARGUMENT ...]
#
# Installs what the tests need and runs the whole suite with coverage: unit, integration against a
# real server with a real model, contract tests with the official clients, and the container image
# where buildah is to be had. About ten minutes on two cores. Left out unless asked for: four more
# real models, 640 MB to fetch (hack/test.sh -m models tests/models), a real browser
# (hack/test.sh -m browser tests/browser), and a real Kubernetes
# (hack/test.sh -m "cluster and not e2e" tests/charts tests/cluster; hack/e2e.sh).

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu,test
fetch_model
# Without helm the charts' tests are skipped, with a line that says so.
PYTHON="$VENV/bin/python" hack/tools.sh >/dev/null || true
exec env PREDICTOR_TEST_MODEL="$PWD/$MODEL_DIR" "$VENV/bin/python" -m pytest \
  -m "not models and not browser and not cluster and not e2e" --cov --cov-report=term "$@"
