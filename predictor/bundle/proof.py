"""What a bundle's manifest says about how right a variant's vectors are."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# What a variant's vectors may differ from its own canonical ones when it is loaded elsewhere: other
# kernels round other activations to the other side. A server takes no bundle that allows more.
TOLERANCES: dict[str, float] = {
    "fp32": 0.99999,
    "int8": 0.999,
    "int8-weights": 0.9999,
    "fp16": 0.9999,
}


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant's vectors were compared with, and how close they came."""

    reference: Annotated[
        Literal["torch", "file", "self", "fp32", "none"],
        Meta(
            description="What the vectors were compared with: `torch` (the original model), `file` "
            "(vectors made elsewhere), `self` (this graph, one text at a time: it proves that "
            "nothing changed since, not that the vectors are right), `fp32` (the bundle's own "
            "float32 graph) or `none`."
        ),
    ]
    tolerance: Annotated[
        float,
        Meta(
            description="The smallest cosine that a later run may have to this variant's canonical "
            "vectors."
        ),
    ]
    limits: Annotated[
        dict[str, float],
        Meta(description="The least that the cosines had to reach, by the names of the figures."),
    ] = {}
    texts: Annotated[
        int, Meta(description="How many texts were compared, each alone and in a batch.")
    ] = 0
    min_cosine: Annotated[
        float, Meta(description="Smallest cosine of a text's vector to the reference.")
    ] = 1.0
    p1_cosine: Annotated[
        float, Meta(description="First percentile of the cosines to the reference.")
    ] = 1.0
    mean_cosine: Annotated[float, Meta(description="Mean of the cosines to the reference.")] = 1.0
    max_abs_difference: Annotated[
        float,
        Meta(
            description="Largest difference of a component to the reference, vectors of length 1."
        ),
    ] = 0.0
    batch_error: Annotated[
        float,
        Meta(
            description="Largest difference of a component between a text alone and among others."
        ),
    ] = 0.0
    instructions: Annotated[
        tuple[str, ...],
        Meta(description="Instruction sets of the CPU that the comparison ran on."),
    ] = ()
    note: Annotated[str, Meta(description="What else one should know.")] = ""
