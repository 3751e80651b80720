"""`predictor export`: turn a model into a bundle."""

import argparse
import logging
import signal
from pathlib import Path
from typing import Any, cast

from predictor.bundle.manifest import FP32, VARIANTS, VariantName
from predictor.bundle.signature import signer
from predictor.cli.arguments import examples
from predictor.cli.inspect import describe
from predictor.engine.cpu import available_cpus
from predictor.errors import BadSetting
from predictor.progress import Progress
from predictor.types import Pooling

EPILOG = """
SOURCE is a directory, a zip file of a directory, or the name of a model on a hub (organisation/name
or organisation/name@revision; it needs huggingface_hub). The code of a model is never run.

The graph is built from the weights for these families: BERT (MiniLM, BGE, E5, GTE, arctic-embed),
RoBERTa, XLM-RoBERTa, CamemBERT, MPNet, DistilBERT, ModernBERT, nomic-bert, GTE v1.5. Other families
are exported with torch, transformers and sentence-transformers, if these are installed, and are
slower to serve.

If torch is installed, the vectors are compared with those of the original model. --reference
compares them with vectors made elsewhere. Otherwise the proof only shows that the graph is
consistent with itself.

examples:
  predictor export ./all-MiniLM-L6-v2 -o models/minilm
  predictor export intfloat/e5-small-v2 -o models/e5 --variants fp32,int8
  predictor export model.zip -o models/own --reference vectors.npz
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "export",
        help="turn a model into a verified bundle",
        description="Turn a Hugging Face or sentence-transformers model into a verified bundle.",
        **examples(EPILOG),
    )
    parser.add_argument("source", metavar="SOURCE", help="Directory, zip file or name on a hub.")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="Directory of the model, in which the version is written.",
    )
    parser.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="Number of the version. [default: the next free one]",
    )
    parser.add_argument(
        "--variants",
        default=FP32,
        metavar="LIST",
        help=f"Comma-separated variants to make: {', '.join(VARIANTS)}. fp32 is always made. "
        "[default: fp32]",
    )
    parser.add_argument(
        "--reference", metavar="FILE", help="File (.npz) with `texts` and `vectors` made elsewhere."
    )
    parser.add_argument(
        "--no-torch",
        action="store_true",
        help="Do not compare the vectors with those of the original model.",
    )
    parser.add_argument(
        "--pooling",
        choices=[p.value for p in Pooling],
        help="Pooling to use instead of the one in the model's files.",
    )
    parser.add_argument(
        "--matryoshka",
        default="",
        metavar="LIST",
        help="Comma-separated numbers of dimensions to which vectors may be cut.",
    )
    parser.add_argument(
        "--sign",
        metavar="KEY",
        help="File with an Ed25519 private key (PEM) with which to sign the bundle, for servers "
        "with --require-signature.",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="Threads to use. [default: all CPUs]"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="Print the result only, without progress."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Handled like Ctrl-C, so that a half-written version is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from predictor.export.acquire import acquire
    from predictor.export.job import ExportOptions, export

    options = ExportOptions(
        variants=_variants(args.variants),
        version=_positive(args.version, "--version"),
        reference=Path(args.reference) if args.reference else None,
        with_torch=not args.no_torch,
        pooling=Pooling(args.pooling) if args.pooling else None,
        matryoshka=_dimensions(args.matryoshka),
        threads=_positive(args.threads, "--threads") or available_cpus(),
        sign=signer("--sign", Path(args.sign)) if args.sign else None,
    )
    with acquire(args.source) as acquired:
        exported = export(acquired, Path(args.output), options, Progress(quiet=args.quiet))
    print(describe(exported.version, exported.bundle))
    print(f"\nwritten to {exported.version}")
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
        raise BadSetting(f"{flag} {value}: must be at least 1")
    return value


def _dimensions(listed: str) -> tuple[int, ...]:
    try:
        dimensions = tuple(int(size) for size in listed.split(",") if size.strip())
    except ValueError as error:
        raise BadSetting(f"--matryoshka {listed}: not a list of numbers") from error
    if any(size < 1 for size in dimensions):
        raise BadSetting(f"--matryoshka {listed}: dimensions must be at least 1")
    return dimensions
