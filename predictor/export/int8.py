"""The static int8 graph: every linear layer of the encoder becomes one integer product.

Static means that the scale of an activation is fixed at export. A dynamic scale would be computed
over the whole batch, so a text's vector would depend on the other texts. An input that several
layers share is quantised once. The smoothing of an input is folded into the layer that computes the
input where that layer is linear (values of attention, the linear half of a gated MLP); elsewhere it
is one `Mul`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from predictor.export.graph import MICROSOFT, DataFile
from predictor.export.onnx_file import Linear, OnnxFile
from predictor.export.smoothquant import Activation, QuantizedLayers, quantize
from predictor.export.weights import FloatArray


@dataclass
class _Rewrite:
    """The changes to the float32 graph."""

    data: DataFile
    # The nodes that replace an old node, by its name.
    nodes: dict[str, list[Any]] = field(default_factory=dict)
    added: list[Any] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)

    def weight(self, name: str, value: Any) -> str:
        self.added.append(self.data.tensor(name, value)[0])
        return name

    def scalar(self, name: str, value: Any) -> str:
        self.added.append(numpy_helper.from_array(np.array(value), name))
        return name


def write_int8(
    file: OnnxFile,
    activations: dict[str, Activation],
    path: Path,
    advance: Callable[[], object],
) -> None:
    """Write the int8 graph of a float32 graph to `path`, and its weights beside it.

    Args:
        activations: by input; the dict is emptied, as it may be as large as the model.
        advance: called after each group of layers, to report progress.
    """
    groups: dict[str, list[Linear]] = {}
    for linear in file.linears():
        groups.setdefault(linear.x, []).append(linear)
    makers = {x: _foldable(file, x, groups) for x in groups}
    scaled_outputs: dict[str, FloatArray] = {}
    chosen: dict[str, QuantizedLayers] = {}
    for x, group in groups.items():
        chosen[x] = quantize(activations.pop(x), [file.array(linear.weight) for linear in group])
        if (maker := makers[x]) is not None:
            scaled_outputs[maker] = np.float32(1) / chosen[x].divisors
        advance()
    with DataFile(path.with_name(path.name + ".data")) as data:
        rewrite = _Rewrite(data)
        for x, group in groups.items():
            _replace(rewrite, file, group, chosen[x], makers[x] is not None, scaled_outputs)
    nodes = [new for node in file.nodes for new in rewrite.nodes.get(node.name, [node])]
    file.rewritten(nodes, rewrite.dropped, rewrite.added, path)


def _foldable(file: OnnxFile, x: str, groups: dict[str, list[Linear]]) -> str | None:
    """Name the output of the linear layer into which the smoothing of `x` can be folded, if any."""
    outputs = {linear.output for group in groups.values() for linear in group}
    name = file.through(x, ("Reshape", "Gather"))
    maker = file.maker(name)
    if maker is None:
        return None
    if maker.op_type == "FusedMatMul":  # attention weights times values
        name = file.through(maker.input[1], ("Reshape", "Gather"))
    elif maker.op_type == "Mul":  # a gated MLP: one side is linear
        name = next((side for side in maker.input if side in outputs), "")
    else:
        return None
    return name if name in outputs else None


def _smoothed(
    rewrite: _Rewrite, x: str, chosen: QuantizedLayers, folded: bool
) -> tuple[list[Any], str]:
    """Return the nodes that smooth an input, and the name of the smoothed value."""
    if folded:
        return [], x
    value = f"{x}.smoothed"
    factors = rewrite.weight(f"{x}.smooth", (1 / chosen.divisors).astype(np.float32))
    return [helper.make_node("Mul", [x, factors], [value], name=value)], value


def _replace(
    rewrite: _Rewrite,
    file: OnnxFile,
    group: list[Linear],
    chosen: QuantizedLayers,
    folded: bool,
    scaled_outputs: dict[str, FloatArray],
) -> None:
    """Quantise the input of a group once, and make one integer product per layer."""
    x = group[0].x
    scale = rewrite.scalar(f"{x}.scale", chosen.scale)
    zero = rewrite.scalar(f"{x}.zero", chosen.zero)
    integers = f"{x}.integers"
    before, value = _smoothed(rewrite, x, chosen, folded)
    before.append(
        helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
    )
    for index, linear in enumerate(group):
        factor = scaled_outputs.get(linear.output, np.float32(1))
        name = linear.weight
        inputs = [
            integers,
            rewrite.weight(f"{name}.int8", chosen.weights[index]),
            scale,
            rewrite.weight(f"{name}.scale", chosen.scales[index] * factor),
            zero,
            "",
        ]
        rewrite.dropped.add(name)
        if linear.bias is not None:
            bias = file.array(linear.bias) * factor
            inputs.append(rewrite.weight(f"{linear.bias}.scaled", bias))
            rewrite.dropped.add(linear.bias)
        node = helper.make_node(
            "MatMulIntegerToFloat", inputs, [linear.output], name=linear.node.name, domain=MICROSOFT
        )
        rewrite.nodes[linear.node.name] = [*before, node]
        before = []
