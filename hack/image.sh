#!/usr/bin/env bash
# Usage: hack/image.sh [--base IMAGE] [--variant cpu|gpu] [--extras E,E...] [--tag TAG]
#
# Builds the container image with buildah, or with docker where there is no buildah, and prints its
# size and what it adds to its base.
#
#   --base IMAGE   Python >= 3.11 on glibc (default: BASE_IMAGE of hack/versions.env)
#   --variant V    cpu, the default, or gpu: with CUDA, 3 GB
#   --extras E     more extras of the package: redis, otel, storage, hub; separated by commas
#   --tag TAG      name of the image (default: localhost/predictor:VARIANT)
#   --help         this text
#
# The build sees which package index pip uses here (pip's files and PIP_* variables) and where its
# certificates are; nothing of that stays in the image. Index directories and certificates on this
# machine are mounted, which only buildah can. BUILDAH_ISOLATION is chroot unless it is set: that
# needs no container runtime and works inside containers.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh

variant=cpu
extras=
tag=
while (($#)); do
  case $1 in
    -h | --help)
      usage "hack/$(basename "$0")"
      exit
      ;;
    --base | --variant | --extras | --tag)
      (($# > 1)) || fail "$1 needs a value"
      case $1 in
        --base) BASE_IMAGE=$2 ;;
        --variant) variant=$2 ;;
        --extras) extras=$2 ;;
        --tag) tag=$2 ;;
      esac
      shift 2
      ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
done
[[ $variant == cpu || $variant == gpu ]] || fail "--variant $variant: cpu or gpu"
[[ $extras =~ ^([a-z]+(,[a-z]+)*)?$ ]] || fail "--extras $extras: names separated by commas"
tag=${tag:-localhost/predictor:$variant}

if command -v buildah >/dev/null; then
  builder=buildah
elif command -v docker >/dev/null; then
  builder=docker
else
  fail "neither buildah nor docker is installed (Debian: apt-get install buildah)"
fi
python=$(find_python)

# Prints pip's index settings as a configuration file: variables beat install's, which beat global.
index_settings() {
  { "$python" -m pip config list 2>/dev/null || true; } | "$python" -c '
import ast, sys

INDEX = {"index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert",
         "client-cert", "timeout", "default-timeout", "retries"}
found = {"global": {}, "install": {}, ":env:": {}}
for line in sys.stdin:
    name, _, value = line.partition("=")
    section, _, key = name.rpartition(".")
    if key in INDEX and section in found:
        found[section][key] = " ".join(ast.literal_eval(value).split())
print("[global]")
for key, value in {key: v for section in found.values() for key, v in section.items()}.items():
    print(key, "=", value)
'
}

# Prints the directories and files of this machine that those settings name. The files of an index
# directory lie beside it as a rule, hence its parent.
local_paths() {
  local word path
  sed -n 's/^[a-z-]* = //p' "$1" | tr ' ' '\n' | while read -r word; do
    path=${word#file://}
    if [[ $path == /* && -e $path ]]; then
      if [[ $word == file://* && -d $path ]]; then
        path=$(dirname "$path")
      fi
      echo "$path"
    fi
  done | sort -u
}

settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
index_settings >"$settings"
arguments=(
  --build-arg "BASE_IMAGE=$BASE_IMAGE"
  --build-arg "VARIANT=$variant"
  --build-arg "EXTRAS=$extras"
  --secret "id=pip,src=$settings"
)

if [[ $builder == buildah ]]; then
  export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
  volumes=()
  while read -r path; do
    volumes+=(--volume "$path:$path:ro")
  done < <(local_paths "$settings")
  # The build stage alone first: a mount leaves its empty mount point in every stage that runs
  # something. The second call finds that stage done.
  build=(buildah build --layers --force-rm --pull=false "${arguments[@]}")
  "${build[@]}" "${volumes[@]}" --target build . >&2
  "${build[@]}" --tag "$tag" . >&2
  # It says 708 MB where others give bytes.
  size_of() {
    buildah images --format '{{.Size}}' "$1" | sed -n 1p | tr -d ' B' | numfmt --from=si
  }
else
  docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || docker pull --quiet "$BASE_IMAGE" >&2
  DOCKER_BUILDKIT=1 docker build "${arguments[@]}" --tag "$tag" . >&2
  size_of() { docker image inspect --format '{{.Size}}' "$1"; }
fi

size=$(size_of "$tag")
base_size=$(size_of "$BASE_IMAGE")
echo "$tag: $((size / 1000000)) MB, $(((size - base_size) / 1000000)) MB over $BASE_IMAGE"
