"""Whether the listeners can be reached: what readiness depends on besides the models."""


class ListenerHealth:
    """The listeners that cannot be reached now, by name.

    A listener is missing if its task has ended and was not started again yet, or if its port
    refuses connections. A slow answer never counts, so a busy or shedding pod stays ready.
    """

    def __init__(self) -> None:
        self._ended: set[str] = set()
        self._refusing: set[str] = set()

    @property
    def is_good(self) -> bool:
        """Whether every listener can be reached."""
        return not self._ended and not self._refusing

    def problems(self) -> list[tuple[str, str]]:
        """The names of the listeners that cannot be reached, each with a reason."""
        ended = [(name, "the listener has ended") for name in sorted(self._ended)]
        refusing = [(name, "the port refuses connections") for name in sorted(self._refusing)]
        return ended + refusing

    def set_running(self, name: str, running: bool) -> None:
        """Note whether the task of a listener is running."""
        (self._ended.discard if running else self._ended.add)(name)
        self._refusing.discard(name)

    def set_refusing(self, name: str, refusing: bool) -> None:
        """Note whether the port of a listener refuses connections."""
        (self._refusing.add if refusing else self._refusing.discard)(name)
