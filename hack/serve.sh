#!/usr/bin/env bash
# Usage: hack/serve.sh [--setup-only] [FLAG ...]
#
# Serves all-MiniLM-L6-v2 on the CPU: REST on 8080, gRPC on 8081, as model "minilm".
# Makes .venv, installs the package, fetches the model; each only once. Flags go to `predictor
# serve` (see `.venv/bin/predictor serve --help`). --setup-only stops before serving.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu
fetch_model
if [[ ${1:-} == --setup-only ]]; then
  exit
fi
exec env MALLOC_ARENA_MAX=2 "$VENV/bin/predictor" serve --model-dir "$MODEL_DIR" --model_name minilm \
  --cache-dir .cache/bundles "$@"
