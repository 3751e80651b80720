"""A pickled checkpoint (`pytorch_model.bin`), which is read through torch and no other way.

torch is imported here inside a function: a checkpoint in safetensors needs none.
"""

import importlib
import importlib.util
import pickle
import zipfile
from pathlib import Path
from typing import Any

from predictor.errors import BadModel
from predictor.extras import install

# What torch raises for a file that is no checkpoint, besides OSError.
NO_CHECKPOINT = (RuntimeError, ValueError, AttributeError, EOFError, pickle.UnpicklingError)


def load_pickle(path: Path) -> dict[str, Any]:
    """The tensors of a `.bin` checkpoint, with `weights_only`: no code of the file is run.

    Raises:
        BadModel: torch is not installed, or the file is not a plain checkpoint.
    """
    if importlib.util.find_spec("torch") is None:
        raise BadModel(
            f"{path}: a pickle, which is read through torch only; {install('torch')}, or save the "
            "model as safetensors"
        )
    torch = importlib.import_module("torch")
    try:
        # Checkpoints from before torch 1.6 are no zip, and cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return {str(name): tensor.float().numpy() for name, tensor in tensors.items()}
    except (OSError, *NO_CHECKPOINT) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(f"{path}: not a plain checkpoint: {why}") from error
