"""A tree of files as a server: only its command line and its protocols are used, nothing inside."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BenchError
from ..harness import CACHE, BenchOptions
from ..servers import MODEL, V2, ServerSpec
from .checkout import ROOT, checked_out, full_hash
from .dependencies import python_of
from .flags import CACHE_DIR, HOST, MODEL_DIR, Flag, known_flags, name_of
from .schedule import BASELINE, CANDIDATE, Side


@dataclass(frozen=True)
class Tree:
    """One side of the comparison. All paths are absolute."""

    side: Side
    folder: Path
    # The interpreter that has the tree's dependencies.
    python: Path
    # The Hugging Face directory that is served.
    model_dir: Path
    # Where the tree's own conversion of the model goes.
    bundles: Path

    def spec(self, section: str, flags: Sequence[tuple[Flag, str | None]]) -> ServerSpec:
        """A server of this tree with the flags, each with its value or with none."""
        common = (
            (MODEL_DIR, str(self.model_dir)),
            (CACHE_DIR, str(self.bundles)),
            (HOST, "127.0.0.1"),
        )
        command = [str(self.python), "-m", "predictor", "serve"]
        command += ["--model_name", MODEL, "--http_port", "{http}", "--grpc_port", "{grpc}"]
        for flag, value in (*common, *flags):
            name = name_of(flag, self._flags)
            command.append(name if value is None else f"{name}={value}")
        return ServerSpec(
            f"{self.side}-{section}",
            command,
            "/v2/health/ready",
            V2,
            {**self._environment, "MALLOC_ARENA_MAX": "2"},  # as in the image and hack/serve.sh
            folder=self.folder,
        )

    def check_import(self) -> None:
        """Raises BenchError if Python takes `predictor` from elsewhere, so another tree ran."""
        module = Path(self._run("-c", "import predictor; print(predictor.__file__)").strip())
        if not module.resolve().is_relative_to(self.folder.resolve()):
            raise BenchError(f"{self.side}: predictor comes from {module}, not from {self.folder}")

    @property
    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder)}

    @cached_property
    def _flags(self) -> frozenset[str]:
        return known_flags(self._run("-m", "predictor", "serve", "--help"))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{self.side}: python {arguments[0]} failed:\n{done.stderr[-1500:]}")
        return done.stdout


@contextmanager
def both(options: BenchOptions, commit: str) -> Iterator[dict[Side, Tree]]:
    """Both trees, this one and the other commit, each with an interpreter that serves it.

    Raises:
        BenchError: the commit does not exist, or its environment could not be made.
    """
    model_dir = options.model_dir.resolve()
    python = (options.venv / "bin/python").absolute()
    cache = CACHE.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="against-", dir=cache) as temporary:
        folder = Path(temporary) / "baseline"
        bundles = Path(temporary) / "bundles"
        with checked_out(full_hash(commit), folder):
            other = python_of(folder, ROOT, python, cache)
            trees = {
                CANDIDATE: Tree(CANDIDATE, ROOT, python, model_dir, bundles / CANDIDATE),
                BASELINE: Tree(BASELINE, folder, other, model_dir, bundles / BASELINE),
            }
            for tree in trees.values():
                tree.check_import()
            yield trees
