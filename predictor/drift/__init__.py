"""Detects whether the traffic of a version, and its vectors, have drifted from a reference.

Pure: no loop, no files, no clock; randomness is passed in. `monitor.py` is what a server uses,
`serialization.py` writes sketches for disks and other pods, `findings.py` decides.
"""

from predictor.drift.findings import Finding, compare
from predictor.drift.monitor import DriftSchedule, Monitor
from predictor.drift.reference import DriftReference, learn
from predictor.drift.serialization import (
    reference_from_bytes,
    reference_to_bytes,
    sketch_from_bytes,
    sketch_to_bytes,
)
from predictor.drift.sketch import BadSketch, ModelIdentity, Sketch

__all__ = [
    "BadSketch",
    "DriftReference",
    "DriftSchedule",
    "Finding",
    "ModelIdentity",
    "Monitor",
    "Sketch",
    "compare",
    "learn",
    "reference_from_bytes",
    "reference_to_bytes",
    "sketch_from_bytes",
    "sketch_to_bytes",
]
