"""Which ONNX file of a directory is served, of those that somebody else made."""

from pathlib import Path

from predictor.errors import BadSetting

ONNX_FILES = ("onnx/model.onnx", "model.onnx")
"""Those that are taken without being named, the first that is there."""


def onnx_files(folder: Path) -> list[str]:
    """All ONNX files of a directory, relative to it, in order of their names."""
    paths = [*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


def choose_onnx(folder: Path, setting: str = "") -> str | None:
    """The ONNX file to serve; None: there is none that is taken without being named.

    Args:
        setting: the file that the operator names, relative to the directory.

    Raises:
        BadSetting: the file that is named is not there.
    """
    listed = onnx_files(folder)
    if not setting:
        return next((name for name in ONNX_FILES if name in listed), None)
    if setting not in listed:
        existing = ", ".join(listed) or "none"
        raise BadSetting(f"--onnx-file {setting}: {folder} has no such file; it has {existing}")
    return setting
