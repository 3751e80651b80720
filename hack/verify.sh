#!/usr/bin/env bash
# Usage: hack/verify.sh
#
# Every check that needs no server: format, lint, types, import layers, shell scripts, Dockerfile,
# that the Markdown pages name only what exists, that no retired word has come back, and that the
# pages of settings, routes, metrics and layers, the charts' READMEs, the dashboards and the
# manifests are what they are made from. Changes nothing; all checks run, failures are listed at the
# end.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

install_package cpu,test,lint
failed=()

check() {
  local name=$1
  shift
  if "$@"; then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    failed+=("$name")
  fi
}

check "ruff format" "$VENV/bin/ruff" format --quiet --check .
check "ruff" "$VENV/bin/ruff" check --quiet .
check "mypy" "$VENV/bin/mypy"
check "import layers" "$VENV/bin/lint-imports" --no-cache
check "shellcheck" "$VENV/bin/shellcheck" --external-sources hack/*.sh .ci/run
check "hadolint" "$VENV/bin/hadolint" Dockerfile
check "pages" "$VENV/bin/python" hack/check_readme.py
check "charts' readmes" "$VENV/bin/python" hack/charts_readme.py --check
check "configuration page" "$VENV/bin/python" hack/configuration_page.py --check
check "metrics page" "$VENV/bin/python" hack/metrics_page.py --check
check "routes page" "$VENV/bin/python" hack/routes_page.py --check
check "layers page" "$VENV/bin/python" hack/layers_page.py --check
check "words" "$VENV/bin/python" hack/check_words.py
check "dashboards" "$VENV/bin/python" hack/dashboards.py --check
if PYTHON="$VENV/bin/python" hack/tools.sh >/dev/null; then
  check "manifests" hack/manifests.sh --check
else
  echo "skipped manifests: no helm"
fi

if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
