"""`python -m tests.unit.drift.simulate alarms|power BUNDLE [MODEL_DIR]`: the tables of the README.

alarms takes a quarter of an hour, power some minutes.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.unit.drift import faults
from tests.unit.drift.simulation import Fault, Power, false_alarms, power, replaced
from tests.unit.drift.traffic import Mix, Pool

MONTHS, MONTH = 5, 30
USUAL = Mix("baseline", sway=0.3, day=0.5, weekend=0.4)
MIXES = (
    Mix("the same all day"),
    Mix("parts sway by 30 %", sway=0.3),
    Mix("and follow the day", sway=0.3, day=0.5),
    USUAL,
    Mix("wild: 60 %, 80 %, 40 %", sway=0.6, day=0.8, weekend=0.4),
)


def everyday(model: faults.Model, texts: faults.Texts) -> Pool:
    """English with 4 % of other languages."""
    return model.baseline.joined(model.of(texts.others[: len(texts.english) // 25]))


def alarms(pool: Pool) -> None:
    print(f"| traffic | alarms in {MONTHS} months | by test |\n| --- | --- | --- |")
    for mix in MIXES:
        total: Counter[str] = Counter()
        for month in range(MONTHS):
            total += false_alarms(pool, mix, MONTH, np.random.default_rng(100 + month))
        tests = ", ".join(f"{name} {n}" for name, n in total.most_common() if name != "any")
        print(f"| {mix.name} | {total['any']} | {tests} |", flush=True)


def powers(
    model: faults.Model, texts: faults.Texts, model_dir: Path, scratch: Path
) -> Iterator[tuple[Power, str]]:
    """Each fault's power, and the mean cosine to the right vectors where it has one."""
    for name, wrong in swaps(model, model_dir, scratch):
        cosine = faults.mean_cosine(model.baseline.rows, wrong.rows)
        yield power(name, model.baseline, USUAL, instead(wrong), seeded()), f"{cosine:.3f}"
    for prompt in ("query: ", faults.LONG_PROMPT):
        right = model.prompted(prompt)
        cosine = faults.mean_cosine(model.baseline.rows, right.rows)
        name = f"prompt missing: {prompt.strip()!r}"
        yield power(name, right, USUAL, instead(model.baseline), seeded()), f"{cosine:.3f}"
    for share in (0.05, 0.1, 0.2, 0.3):
        for name, replacement in (
            ("Russian", texts.russian),
            ("many other languages", texts.others),
            ("a footer on", faults.footed(texts.english[:500])),
            ("one text floods", faults.flooding()),
        ):
            fault = replaced(model.baseline, model.of(replacement), share, seeded())
            yield power(f"{name}: {share:.0%}", model.baseline, USUAL, fault, seeded()), ""


def swaps(model: faults.Model, model_dir: Path, scratch: Path) -> Iterator[tuple[str, Pool]]:
    yield "CLS for mean pooling", model.pooled(model_dir, "pooling_mode_cls_token", scratch)
    yield "max for mean pooling", model.pooled(model_dir, "pooling_mode_max_tokens", scratch)
    yield "prompt too many: 'query:'", model.prompted("query: ")
    yield "tokenizer without lower-casing", model.cased(scratch)
    yield "tokenizer of another vocabulary", model.shifted()
    yield "int8, one step a matrix", model.rounded(faults.one_step(8), scratch)
    yield "int8, range cut to a quarter", model.rounded(faults.one_step(8, 0.25), scratch)
    yield "int8 of 5 bits", model.rounded(faults.one_step(5), scratch)
    wrong = faults.wrong_scale("encoder.layer.3.output", 2.0)
    yield "int8, a scale off by 2", model.rounded(wrong, scratch)


def instead(pool: Pool) -> Fault:
    return lambda rows: (pool, rows)


def seeded() -> np.random.Generator:
    return np.random.default_rng(5)


def main(which: str, bundle: str, *rest: str) -> None:
    folder = Path(bundle)
    texts = faults.texts(folder / "tokenizer.json")
    model = faults.Model(folder, texts.english)
    print(f"{len(texts.english)} English texts", file=sys.stderr)
    if which == "alarms":
        alarms(everyday(model, texts))
        return
    print("| fault | cosine | seen in a window | by test: effect |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for result, cosine in powers(model, texts, Path(rest[0]), Path(scratch)):
            effects = sorted(result.effect.items(), key=lambda item: -item[1])
            by = ", ".join(f"{name} {effect:.1f}" for name, effect in effects if effect >= 0.8)
            print(f"| {result.fault} | {cosine} | {result.detected:.0%} | {by} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
