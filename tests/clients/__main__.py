"""Run families of clients against a server with an API key; write the page. See hack/clients.sh."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.environments import Family, NotInstallable, prepare, read_families
from tests.clients.page import PAGE, Check, Result, with_results
from tests.conftest import DEFAULT_MODEL
from tests.contract.helpers import MODEL, TEXTS, read_reference
from tests.serving import Server, model_flags

KEY = "sk-0123456789abcdef0123456789abcdef"
BUNDLES = DEFAULT_MODEL.parents[1] / "bundles"
SCENARIO_S = 600


def start(folder: Path) -> Server:
    keys = folder / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(json.dumps({"keys": [{"name": "client", "sha256": digest}]}), "utf-8")
    model = Path(os.environ.get("PREDICTOR_TEST_MODEL", DEFAULT_MODEL))
    flags = [*model_flags(model, BUNDLES), f"--api-keys-file={keys}"]
    return Server(*flags, "--drain-delay-s=0")


def write_facts(path: Path, server: Server) -> None:
    """What a scenario reads: addresses, the key, and texts with their reference vectors."""
    reference = read_reference()
    long = reference.texts[int(reference.truncated.argmax())]
    facts = {
        "url": server.url, "grpc": server.grpc, "key": KEY, "model": MODEL,
        "texts": TEXTS, "vectors": reference.vectors_of(TEXTS).tolist(),
        "long": long, "long_vector": reference.vectors_of([long])[0].tolist(),
        "empty_vector": reference.vectors_of([""])[0].tolist(),
    }  # fmt: skip
    path.write_text(json.dumps(facts), "utf-8")


def run(family: Family, facts: Path) -> list[Result]:
    """The results of the family's clients.

    Raises:
        NotInstallable: it cannot run on this machine.
        RuntimeError: the scenario ended with an error.
    """
    command, folder = prepare(family)
    # The scenario sees the client's packages, not those of this repository.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment | {"CLIENTS_FACTS": str(facts)},
        capture_output=True, text=True, check=False, timeout=SCENARIO_S,
    )  # fmt: skip
    results = [
        json.loads(line.removeprefix("RESULT "))
        for line in done.stdout.splitlines()
        if line.startswith("RESULT ")
    ]
    if done.returncode or not results:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return [
        Result(
            answer["client"], answer["version"], tuple(Check(**check) for check in answer["checks"])
        )
        for answer in results
    ]


def run_all(families: list[Family], facts: Path) -> tuple[list[Result], int]:
    """All results, and how many families could not be run."""
    results: list[Result] = []
    broken = 0
    for family in families:
        try:
            new = run(family, facts)
        except (NotInstallable, RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{family.name}: not run: {error}")
            broken += 1
            continue
        for result in new:
            print(f"{result.label}: {len(result.checks)} checks, {len(result.failures)} failed")
            for check in result.failures:
                print(f"  {check.what}: {check.detail}")
        results += new
    return results, broken


def main(names: list[str]) -> int:
    known = read_families()
    if unknown := [name for name in names if name not in known]:
        print(f"no family {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        try:
            facts = Path(folder) / "facts.json"
            write_facts(facts, server)
            results, broken = run_all([known[name] for name in names or known], facts)
        finally:
            server.stop()
    PAGE.write_text(with_results(PAGE.read_text("utf-8"), results), "utf-8")
    return 1 if broken or any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
