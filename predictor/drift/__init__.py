"""Whether the traffic of a version, and the vectors it gets, are still what they were.

Pure: no loop, no files, no clock; randomness is passed in. `monitor.py` is what a server uses,
`storing.py` what goes to disk and between pods, `findings.py` the verdict.
"""

from predictor.drift.findings import Finding, compare
from predictor.drift.monitor import Monitor, Rhythm
from predictor.drift.reference import Reference, learn
from predictor.drift.sketch import BadSketch, Sketch, Subject
from predictor.drift.storing import (
    reference_from_bytes,
    reference_to_bytes,
    sketch_from_bytes,
    sketch_to_bytes,
)

__all__ = [
    "BadSketch",
    "Finding",
    "Monitor",
    "Reference",
    "Rhythm",
    "Sketch",
    "Subject",
    "compare",
    "learn",
    "reference_from_bytes",
    "reference_to_bytes",
    "sketch_from_bytes",
    "sketch_to_bytes",
]
