#!/usr/bin/env bash
# Usage: hack/test.sh [PYTEST ARGUMENT ...]
#
# Installs what the tests need and runs the whole suite with coverage: unit, integration against a
# real server with a real model, contract tests with the official clients, and the container image
# where buildah is to be had. About five minutes on two cores. Left out unless asked for
# (hack/test.sh -m models tests/models): four more real models, 640 MB to fetch.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu,test
fetch_model
exec env PREDICTOR_TEST_MODEL="$PWD/$MODEL_DIR" "$VENV/bin/python" -m pytest -m "not models" --cov --cov-report=term "$@"
