"""The scripts of hack/ as modules: the folder is no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

HACK = Path(__file__).resolve().parents[1] / "hack"


def load(name: str) -> ModuleType:
    """The script `name`.py, imported anew; it may import its neighbours, as when it is run."""
    if str(HACK) not in sys.path:
        sys.path.append(str(HACK))
    spec = importlib.util.spec_from_file_location(name, HACK / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
