"""What the sections share: options, texts, peers made on demand, and interleaved rounds."""

import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from . import corpus, correctness, environments, machine, peers, servers, wrk
from .errors import BenchError
from .process import wait_until_idle
from .report import Figure, log
from .wrk import LoadPlan, LoadResult, RequestTemplate

CACHE = Path(".cache/bench")
BUNDLE = CACHE / "bundle"
PASSES_A_RUN = 8
Sample = dict[str, float]


@dataclass(frozen=True)
class BenchOptions:
    venv: Path
    model_dir: Path
    rounds: int
    seconds: float
    seed: int
    soak: bool
    reloads: int
    server_flags: tuple[str, ...]


class Harness:
    def __init__(self, options: BenchOptions) -> None:
        self.options = options
        self._random = random.Random(options.seed)
        self._serials: dict[str, int] = {}
        self.logs = CACHE / "logs"
        self.home = CACHE / "hf-home"

    @cached_property
    def mixed(self) -> corpus.Corpus:
        return corpus.mixed(self.options.model_dir / "tokenizer.json")

    @cached_property
    def mixed_file(self) -> Path:
        return self.mixed.write(CACHE / "texts" / "mixed.txt")

    @cached_property
    def query_file(self) -> Path:
        texts = corpus.queries(self.options.model_dir / "tokenizer.json")
        return texts.write(CACHE / "texts" / "query.txt")

    def load(
        self,
        server: servers.RunningServer,
        *,
        clients: int,
        seconds: float | None = None,
        batch: int = 1,
        route: RequestTemplate | None = None,
        texts: Path | None = None,
    ) -> LoadResult:
        """Closed loop of wrk on the server, and the wait until the server is idle again."""
        serial = self.serial(server)
        plan = LoadPlan(
            texts or self.mixed_file, clients, seconds or self.options.seconds, serial, batch
        )
        result = wrk.run(server.port, route or server.spec.route, plan)
        used = serial + result.requests * batch // corpus.COUNT + 2
        self._serials[server.spec.name] = max(self._serials[server.spec.name], used)
        self.wait_until_idle([server])
        return result

    def repeat(
        self,
        server: servers.RunningServer,
        texts: Path,
        *,
        clients: int,
        seconds: float | None = None,
        route: RequestTemplate | None = None,
    ) -> LoadResult:
        """As `load`, but the texts go out as they are, pass after pass: a cache may answer."""
        plan = LoadPlan(texts, clients, seconds or self.options.seconds, serial=None)
        result = wrk.run(server.port, route or server.spec.route, plan)
        self.wait_until_idle([server])
        return result

    def serial(self, server: servers.RunningServer) -> int:
        """The number before the texts of the next run, with room for the passes that it makes.

        Counted for each server, so that all get the same texts, and none gets one twice.
        """
        name = server.spec.name
        serial = self._serials.get(name, 1)
        self._serials[name] = serial + PASSES_A_RUN
        return serial

    @staticmethod
    def wait_until_idle(up: Sequence[servers.RunningServer]) -> None:
        if not wait_until_idle([server.pid for server in up]):
            log(f"{', '.join(server.spec.name for server in up)}: still busy without a client")

    def python(self, peer: str) -> Path:
        return environments.ensure(peer, CACHE)

    @cached_property
    def plain_model(self) -> Path:
        """The model's directory as peers take it, and Infinity's fused graph in its cache."""
        folder, stamp = CACHE / "model", CACHE / "model-made-of"
        # Of this model, on this CPU: the fused graph may hold the CPU's own layouts.
        made_of = f"{self.options.model_dir.resolve()} on {machine.describe()['cpu']}"
        if not stamp.is_file() or stamp.read_text() != made_of:
            log("exporting the stock ONNX graph for the peers")
            for old in (folder, self.home):
                shutil.rmtree(old, ignore_errors=True)
            texts = CACHE / "texts" / "correctness.txt"
            texts.parent.mkdir(parents=True, exist_ok=True)
            texts.write_text("\n".join(self.mixed.texts[: correctness.TEXTS]))
            source = ["--model-dir", str(self.options.model_dir), "--texts", str(texts)]
            fused = str(peers.fused_graph(self.home))
            environments.run_module(
                self.python("infinity"),
                "peer_model",
                [*source, "--out", str(folder), "--fused", fused],
            )
            stamp.write_text(made_of)
        return folder

    @cached_property
    def bundle(self) -> Path:
        """Our bundle of the model, float32 and int8, exported by the code under test."""
        log("exporting the bundle")
        shutil.rmtree(BUNDLE, ignore_errors=True)
        command = [str(self.options.venv / "bin/predictor"), "export", "--quiet"]
        command += [str(self.options.model_dir), "-o", str(BUNDLE), "--variants", "fp32,int8"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"predictor export failed: {done.stderr.strip()}")
        return BUNDLE / "1"

    def ours(self, *flags: str, variant: str = "fp32", name: str = "") -> servers.ServerSpec:
        """Our server with its defaults and `flags`; a name of its own where several are up."""
        options = self.options
        spec = servers.ours(options.venv, self.bundle, variant, *options.server_flags, *flags)
        return replace(spec, name=name) if name else spec

    @property
    def own_python(self) -> Path:
        return self.options.venv / "bin/python"

    def check(self, server: servers.RunningServer) -> None:
        cosine = correctness.check(server, self.plain_model / "reference.npz")
        log(f"{server.spec.name}: smallest cosine to sentence-transformers {cosine:.6f}")

    def interleave(self, jobs: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
        """Every job once a round, each round in another order: what disturbs, disturbs all."""
        samples: dict[str, list[Sample]] = {name: [] for name in jobs}
        for turn in range(1, self.options.rounds + 1):
            order = list(jobs)
            self._random.shuffle(order)
            for name in order:
                sample = jobs[name]()
                samples[name].append(sample)
                shown = ", ".join(f"{key} {value:.4g}" for key, value in sample.items())
                log(f"round {turn}/{self.options.rounds}: {name}: {shown}")
        return samples


def figure(samples: Sequence[Sample], key: str) -> Figure:
    errors = int(sum(sample.get("errors", 0) for sample in samples))
    return Figure(tuple(sample[key] for sample in samples), errors)
