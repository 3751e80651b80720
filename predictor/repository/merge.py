"""From one scan of the directory to what is known of the versions."""

from predictor.repository.layout import Layout, VersionFolder
from predictor.repository.states import ModelRecord, S, VersionRecord, VersionState

BEING_WRITTEN = "its files are still being written"
NOT_SELECTED = "on disk, and not selected so far"
REMOVED = "its files were removed; it is served until another version replaces it"
CHANGED = (
    "its files were changed; the version that was loaded is still served (publish changes under a "
    "new number)"
)


def merge(models: dict[str, ModelRecord[S]], layout: Layout, before: Layout | None) -> bool:
    """Take a scan over into the records; True if files are still being written.

    A version counts once two scans have seen the same files, as a copy into place may be half
    done. The first scan (`before` is None) is taken as it is.
    """
    is_being_written = False
    for name, folders in layout.models.items():
        model = models.setdefault(name, ModelRecord(name))
        for number, folder in folders.items():
            version = model.versions.setdefault(number, VersionRecord(name, number))
            earlier = before.models.get(name, {}).get(number) if before else folder
            is_complete = earlier is not None and earlier.stamp == folder.stamp
            _update(version, folder, is_complete)
            is_being_written = is_being_written or version.is_being_written
    _remove_missing(models, layout)
    return is_being_written


def _update(version: VersionRecord[S], folder: VersionFolder, is_complete: bool) -> None:
    version.on_disk = folder
    version.is_being_written = not is_complete
    if version.is_being_written:
        version.forget_failure()  # of other files
        version.attempts = 0
    if version.is_live:
        version.reason = CHANGED if version.loaded_stamp != folder.stamp else ""
    elif version.served is not None:
        return  # warm or unloading: what is in memory does not depend on the files
    elif folder.problem:
        version.set_state(VersionState.UNAVAILABLE, folder.problem, "invalid")
    elif version.is_being_written:
        version.set_state(VersionState.UNAVAILABLE, BEING_WRITTEN, "incomplete")
    elif version.reason in (BEING_WRITTEN, ""):
        version.set_state(VersionState.UNAVAILABLE, NOT_SELECTED)


def _remove_missing(models: dict[str, ModelRecord[S]], layout: Layout) -> None:
    """Drop versions without files, except those that are loaded or loading."""
    for name, model in list(models.items()):
        for number, version in list(model.versions.items()):
            if number in layout.models.get(name, {}):
                continue
            version.on_disk = None
            version.is_being_written = False
            if version.is_live:
                version.reason = REMOVED
            if version.served is None and version.state is VersionState.UNAVAILABLE:
                version.remove_metrics()
                del model.versions[number]
        if not model.versions:
            del models[name]
