#!/usr/bin/env bash
# Usage: hack/test.sh [--coverage] [--python VERSION_OR_PATH] [PYTEST ARGUMENT ...]
#
# Installs what the tests need and runs the suite in a process more than there are cores: unit,
# integration against a real server with a real model, contract tests with the official clients, and the
# charts. About 9 minutes on two cores. It needs no port, file or service for itself, so several may run
# at once.
#
#   --coverage   measure which lines and branches the tests of this process reach
#   --python     run the unit tests (or the arguments' tests) with another interpreter: 3.12, 3.13 or
#                a path; in an environment of its own under .cache
#   -n 0         run in one process (to use --pdb, or to see the output of -s)
#
# Left out unless asked for, .ci/run asks for all but the last:
#   -m slow tests/attack tests/integration tests/unit   attacks, every family's variants, floods, kills
#   -m study tests/unit                    thousands of simulated days and rollouts
#   -m image tests/image                   the container image, where buildah is to be had
#   -m models tests/models                 four more real models, 640 MB to fetch
#   -m browser tests/browser               a real browser
#   -m "cluster and not e2e" tests/charts tests/cluster   a real Kubernetes; hack/e2e.sh

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

coverage=()
while true; do
  case ${1:-} in
    --coverage)
      coverage=(--cov --cov-report=term)
      shift
      ;;
    --python)
      [[ -n ${2:-} ]] || fail "--python needs a version or a path"
      PREDICTOR_PYTHON=$2
      if [[ $2 =~ ^[0-9.]+$ ]]; then
        PREDICTOR_PYTHON=python$2
      fi
      version=$("$PREDICTOR_PYTHON" -c "import sys; print('%d.%d' % sys.version_info[:2])") ||
        fail "no interpreter $PREDICTOR_PYTHON"
      VENV=.cache/venv-$version
      shift 2
      (($#)) || set -- tests/unit
      ;;
    *)
      break
      ;;
  esac
done

# What runs where no -m is given; a later -m replaces it.
DEFAULT="not slow and not study and not image and not models and not browser and not cluster and not e2e"

# Hundreds of processes of the command start: without compiled modules each needs half as much again.
unset PYTHONDONTWRITEBYTECODE
install_package cpu,test
fetch_model
# Without helm the charts' tests are skipped, with a line that says so.
PYTHON="$VENV/bin/python" hack/tools.sh >/dev/null || true
exec env PREDICTOR_TEST_MODEL="$PWD/$MODEL_DIR" "$VENV/bin/python" -m pytest --numprocesses auto \
  -m "$DEFAULT" ${coverage[@]+"${coverage[@]}"} "$@"
