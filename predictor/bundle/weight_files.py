"""Which files of a checkpoint hold its weights: safetensors, one file or shards, else a pickle."""

from pathlib import Path

from predictor.bundle.json_file import read_json
from predictor.errors import BadModel

SAFETENSORS = ".safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights; empty if there are none that can be read.

    Raises:
        BadModel: the index of a sharded checkpoint is damaged.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if index.is_file():
        try:
            names = set(read_json(index)["weight_map"].values())
            return [folder / Path(name).name for name in sorted(names)]
        except (BadModel, KeyError, TypeError, AttributeError) as error:
            raise BadModel(f"{index}: not an index of shards: {error}") from error
    pickle = folder / PICKLE
    return [pickle] if pickle.is_file() else []
