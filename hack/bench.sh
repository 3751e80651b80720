#!/usr/bin/env bash
# Usage: hack/bench.sh [OPTION ...]
#        hack/bench.sh --against COMMIT [OPTION ...]
#
# Measures the server beside its peers (Infinity, naive KServe) on this machine and prints one table.
# With --against, it compares this tree with another commit instead: both servers are up, one at a
# time is under load, and they take turns in every round. It prints both medians, their ratio, the
# spread of the rounds' ratios, and whether that spread allows a verdict.
#
#   --only SECTION,...  some of: served alone efficiency wire lanes memory start cache reload
#                       (default: all); with --against some of: served wire cache
#   --against COMMIT    compare with this commit (a hash, a branch, HEAD~5): 20 minutes
#   --at-least RATIO    with --against: exit code 1 if a ratio is lower (for instance 0.97)
#   --json FILE         write all samples to FILE as well
#   --rounds N          samples of each figure, interleaved (default 3, with --against 7; fewer than
#                       6 allow no verdict); the table has medians
#   --seconds S         of one run (default 6)
#   --quick             one round of 2 s: does everything run? The figures say little
#   --soak              memory: 200 000 requests instead of 20 000
#   --reloads N         reload: changes of version under load (default 100; 10 with --quick)
#   --seed N            of the order of the runs (default 1)
#   --server-flag=FLAG  added to our server's command; may be repeated (--server-flag=--threads=4)
#   --help              this text
#
# Needs wrk, h2load (Debian: nghttp2-client) for the sections `wire` and `cache`, python3 >= 3.11,
# 5 GB of disk and a package index that pip reaches. With redis-server on PATH, `cache` measures the
# second tier too. The first run makes the peers' environments under .cache/bench (minutes); all
# sections take about 30 minutes after that. Nothing else should run on the machine meanwhile.
# --against needs no peers: neither their environments nor torch. Where the dependencies of COMMIT
# differ from this tree's, it gets an environment of its own under .cache/bench.
# Exit code 1: something did not run or answered errors, or a ratio is lower than --at-least.
# What is measured against what, and how to read the table: hack/bench/README.md.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh

only=all
against=
previous=
for argument in "$@"; do
  case $argument in
    -h | --help)
      usage hack/bench.sh
      exit
      ;;
    --only=*) only=${argument#--only=} ;;
    --against | --against=*) against=yes ;;
  esac
  if [[ $previous == --only ]]; then
    only=$argument
  fi
  previous=$argument
done

command -v wrk >/dev/null || fail "needs wrk (Debian: apt-get install wrk)"
if [[ $only == all || $only == *wire* || $only == *cache* ]]; then
  command -v h2load >/dev/null ||
    fail "the sections wire and cache need h2load (Debian: apt-get install nghttp2-client)"
fi
find_python >/dev/null
[[ -r /proc/self/smaps_rollup ]] || fail "needs Linux: CPU and memory are read from /proc"

hack/serve.sh --setup-only >&2
if [[ -z $against && ($only == all || $only == *cache*) ]] && command -v redis-server >/dev/null; then
  "$VENV/bin/python" -c "import redis" 2>/dev/null ||
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
      --constraint hack/constraints.txt redis >&2
fi
exec "$VENV/bin/python" -m hack.bench --model-dir "$MODEL_DIR" "$@"
