"""The numbers of a config.json, by any of the names that a family has used for them."""

from typing import Any

from predictor.errors import BadModel

_MISSING = object()


class ModelConfig:
    """Typed access to config.json; every error names the key.

    Raises (all methods):
        BadModel: a key is missing, of the wrong type, or has a value that is not supported.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def _find(self, names: tuple[str, ...], default: Any) -> Any:
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        if default is _MISSING:
            raise BadModel(f"config.json: {' or '.join(names)} is missing")
        return default

    def integer(self, *names: str, default: Any = _MISSING) -> int:
        value = self._find(names, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadModel(f"config.json: {names[0]} is {value!r}, not a whole number")
        return value

    def number(self, *names: str, default: Any = _MISSING) -> float:
        value = self._find(names, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadModel(f"config.json: {names[0]} is {value!r}, not a number")
        return float(value)

    def text(self, *names: str, default: str) -> str:
        return str(self._find(names, default))

    def mapping(self, *names: str) -> dict[str, Any]:
        value = self._find(names, {})
        if not isinstance(value, dict):
            raise BadModel(f"config.json: {names[0]} is {value!r}, not an object")
        return value

    def heads(self, hidden: int, *names: str) -> int:
        """The number of heads, which must divide `hidden`."""
        heads = self.integer(*names)
        if heads <= 0 or hidden % heads:
            raise BadModel(f"config.json: {hidden} hidden do not split into {heads} heads")
        return heads
