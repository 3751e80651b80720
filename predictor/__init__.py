"""An embedding server for Kubernetes: a KServe custom predictor on ONNX Runtime.

ONNX Runtime's Linux wheels send telemetry by default since 1.29; the switch is an environment
variable that must stand before the library is imported, hence here.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# The tokenizer's own thread pool competes with the engine's threads; parallelism comes from
# tokenising several requests at once instead.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"
