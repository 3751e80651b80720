"""`predictor export`."""

import argparse
import logging
import signal
from pathlib import Path
from typing import Any, cast

from predictor.cli.arguments import examples
from predictor.cli.inspect import describe
from predictor.engine.bundle import FP32, VARIANTS, VariantName
from predictor.engine.cpu import available_cpus
from predictor.errors import BadSetting
from predictor.progress import Progress
from predictor.types import Pooling

EPILOG = """
SOURCE is a directory, a zip of one, or a name on a hub (organisation/name, or
organisation/name@revision; needs `pip install 'predictor[hub]'`; code of a model is never run).
Families built from their weights: BERT (MiniLM, BGE, E5, GTE, arctic-embed), RoBERTa, XLM-RoBERTa,
CamemBERT, MPNet, DistilBERT, ModernBERT, nomic-bert, GTE v1.5. Others are exported through torch
(`pip install 'predictor[torch]'`) and served slower.

Where torch is installed the vectors are compared with the original model's; --reference compares
with vectors made elsewhere; otherwise the proof only says that the graph agrees with itself.

examples:
  predictor export ./all-MiniLM-L6-v2 -o models/minilm
  predictor export intfloat/e5-small-v2 -o models/e5 --variants fp32,int8
  predictor export model.zip -o models/own --reference vectors.npz
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="turn a model into a proven bundle",
        description="Turn a Hugging Face / sentence-transformers model into a proven bundle.",
        **examples(EPILOG),
    )
    parser.add_argument("source", metavar="SOURCE", help="directory, zip or hub name")
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="the model's folder of versions"
    )
    parser.add_argument("--version", type=int, metavar="N", help="[default: the next free one]")
    parser.add_argument(
        "--variants",
        default=FP32,
        metavar="LIST",
        help=f"comma-separated: {', '.join(VARIANTS)} (fp32 is always there) [default fp32]",
    )
    parser.add_argument(
        "--reference", metavar="FILE", help=".npz with `texts` and `vectors` made elsewhere"
    )
    parser.add_argument(
        "--no-torch", action="store_true", help="do not compare with the original model"
    )
    parser.add_argument(
        "--pooling", choices=[p.value for p in Pooling], help="instead of what the model says"
    )
    parser.add_argument(
        "--matryoshka", default="", metavar="LIST", help="dimensions that may be cut to"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="[default: all CPUs]")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # As Ctrl-C: what is half-written is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from predictor.export.acquire import acquire
    from predictor.export.job import Wishes, export

    wishes = Wishes(
        variants=_variants(given.variants),
        version=_positive(given.version, "--version"),
        reference=Path(given.reference) if given.reference else None,
        with_torch=not given.no_torch,
        pooling=Pooling(given.pooling) if given.pooling else None,
        matryoshka=_dimensions(given.matryoshka),
        threads=_positive(given.threads, "--threads") or available_cpus(),
    )
    with acquire(given.source) as acquired:
        done = export(acquired, Path(given.output), wishes, Progress(quiet=given.quiet))
    print(describe(done.version, done.bundle))
    return 0


def _variants(listed: str) -> tuple[VariantName, ...]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    unknown = [name for name in names if name not in VARIANTS]
    if "bf16" in unknown:
        raise BadSetting(
            "--variants bf16: ONNX Runtime's packed attention takes float16 and float32 only; "
            "use fp16"
        )
    if unknown:
        raise BadSetting(f"--variants {unknown[0]}: not one of {', '.join(VARIANTS)}")
    return cast(tuple[VariantName, ...], tuple(dict.fromkeys([FP32, *names])))


def _positive(value: int | None, flag: str) -> int | None:
    if value is not None and value < 1:
        raise BadSetting(f"{flag} {value}: has to be 1 or more")
    return value


def _dimensions(listed: str) -> tuple[int, ...]:
    try:
        dimensions = tuple(int(one) for one in listed.split(",") if one.strip())
    except ValueError as error:
        raise BadSetting(f"--matryoshka {listed}: not a list of numbers") from error
    if any(one < 1 for one in dimensions):
        raise BadSetting(f"--matryoshka {listed}: dimensions are 1 or more")
    return dimensions
