#!/usr/bin/env bash
# Usage: hack/e2e.sh [PYTEST ARGUMENT ...]
#
# Every scenario on a real Kubernetes node that is started for it and stopped at the end: install,
# protocols, monitoring, canary, promotion and rollback, autoscalers, pods that go away under load.
# About 15 minutes on two cores; prints what it measured, and a line with result and date.
#
# Needs root, buildah, and the test cluster's script `kit`, which KIT names, else
# ../shared/cluster/kit. A node that is up already is used and left up.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

[[ -x ${KIT:-../shared/cluster/kit} ]] || fail "no test cluster: KIT does not name the kit script"
install_package cpu,test
fetch_model
hack/tools.sh >/dev/null
mkdir -p .cache
log=.cache/e2e.log
status=0
PREDICTOR_TEST_MODEL="$PWD/$MODEL_DIR" "$VENV/bin/python" -m pytest -m "cluster or e2e" tests/cluster "$@" \
  2>&1 | tee "$log" || status=$?
echo "$(date --utc +%F) $(tail -n 1 "$log" | tr -d =)"
exit "$status"
