"""What a plain model directory is, before anything is converted: for `predictor inspect`.

Every part is read by the code that reads it when the directory is served, so that what is told is
what happens. All problems are collected, not only the first.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from predictor.bundle.folder_keys import CONFIG, KEYS, LIMITS, TOKENIZER_CONFIG, check_keys
from predictor.bundle.folder_kind import FolderVerdict, refusal
from predictor.bundle.lengths import max_length
from predictor.bundle.modules import read_modules
from predictor.bundle.onnx_files import onnx_files
from predictor.bundle.source import ADAPTER, FolderFiles, check_adapter, read_files, read_source
from predictor.bundle.tokenizer_parts import SLOW_FILES, TOKENIZER_FILE, read_tokenizer
from predictor.bundle.weight_files import weight_files
from predictor.errors import BadModel, BadSetting
from predictor.export.convertible import CONVERTIBLE, served_file
from predictor.extras import install
from predictor.repository.memory_need import needed_by_source
from predictor.repository.source_log import facts_of
from predictor.settings import ModelSettings

T = TypeVar("T")
# Files that a complete directory of an embedder has.
EXPECTED = (CONFIG, "modules.json", "1_Pooling", LIMITS, TOKENIZER_CONFIG, TOKENIZER_FILE)
SESSIONS = 2


@dataclass
class FolderSurvey:
    """A directory that is no bundle, as it would be served."""

    folder: Path

    verdict: FolderVerdict | None = None
    """What it is; None: its config.json cannot be read."""

    present: dict[str, int] = field(default_factory=dict)
    """Weights, graphs, tokenizer and configuration that were recognised, with sizes in bytes."""

    missing: list[str] = field(default_factory=list)
    """Expected files that it does not have."""

    facts: dict[str, str] = field(default_factory=dict)
    """File, family, task, pooling, prompts and length; empty if it cannot be served."""

    assumed: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    problems: list[str] = field(default_factory=list)
    """Why it cannot be served, a sentence each."""

    needed_bytes: int | None = None
    """Memory that serving takes with more than one thread; None: it cannot be served."""

    command: str | None = None
    """What serves it, or makes it servable; None: nothing does yet."""

    def attempt(self, step: Callable[[], T]) -> T | None:
        """The result of a step; None for one that fails, which is a problem."""
        try:
            return step()
        except (BadModel, BadSetting) as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None


def survey(folder: Path) -> FolderSurvey:
    """Look at a directory without converting or loading it."""
    result = FolderSurvey(folder)
    files = result.attempt(lambda: read_files(folder))
    if files is None:
        return result
    result.verdict = files.verdict
    result.unread = files.unread
    result.present = _present(files)
    names = {str(path.relative_to(folder)) for path in folder.glob("*")}
    inside = {path.name for path in files.transformer.glob("*")}
    result.missing = [name for name in EXPECTED if name not in names | inside]
    _check(result, files)
    if not result.problems:
        _describe(result)
    result.command = _command(result, files)
    return result


def _check(result: FolderSurvey, files: FolderFiles) -> None:
    """Collect what the parts of the directory are refused for."""
    why_not = refusal(files.verdict)
    if why_not is not None:
        result.problems.append(why_not)
    config = files.configs[CONFIG]
    tokenizer = files.configs[TOKENIZER_CONFIG]
    for name in KEYS:
        place = str(files.place(name))
        result.attempt(lambda name=name, place=place: check_keys(name, place, files.configs[name]))  # type: ignore[misc]
    result.attempt(lambda: check_adapter(files.transformer))
    modules = result.attempt(lambda: read_modules(files.folder))
    if modules is not None:
        result.unread += modules.unread
    family = str(config.get("model_type", ""))
    result.attempt(lambda: read_tokenizer(files.transformer, tokenizer, family))
    limits = files.configs[LIMITS]
    result.attempt(lambda: max_length(files.transformer, config, limits, tokenizer))


def _describe(result: FolderSurvey) -> None:
    source = result.attempt(lambda: read_source(result.folder))
    if source is None:
        return
    result.assumed = source.assumed
    served = result.attempt(lambda: served_file(source))
    if served is None:
        return
    result.facts = facts_of(source, served)
    if served.onnx is not None:
        result.facts["why"] = f"its own ONNX file, with padded inputs: {served.why}"
    settings = ModelSettings(model_dir=str(result.folder))
    result.needed_bytes = result.attempt(lambda: needed_by_source(source, settings, SESSIONS))


def _present(files: FolderFiles) -> dict[str, int]:
    """The files of a directory that mean something here."""
    try:
        weights = weight_files(files.transformer)
    except BadModel:
        weights = []
    graphs = [files.folder / name for name in onnx_files(files.folder)]
    tokenizers = [files.transformer / name for name in (TOKENIZER_FILE, *SLOW_FILES)]
    others = [files.folder / "modules.json", files.transformer / ADAPTER]
    configs = [files.place(name) for name in KEYS]
    paths = [*weights, *graphs, *tokenizers, *others, *configs]
    return {
        str(path.relative_to(files.folder)): path.stat().st_size
        for path in dict.fromkeys(paths)
        if path.is_file()
    }


def _command(result: FolderSurvey, files: FolderFiles) -> str | None:
    """The command that serves the directory, or the one that helps."""
    folder = shlex.quote(str(result.folder))
    serve = f"predictor serve --model-dir {folder}"
    if not result.problems:
        return serve
    if not result.facts and len(result.problems) == 1 and "--onnx-file" in result.problems[0]:
        return f"{serve} --onnx-file {shlex.quote(onnx_files(result.folder)[0])}"
    family = str(files.configs[CONFIG].get("model_type", ""))
    if len(result.problems) == 1 and "`predictor export` may know how" in result.problems[0]:
        if family in CONVERTIBLE:
            return install("torch")
        return f"{install('torch')} && predictor export {folder} -o {folder}-bundle"
    return None
