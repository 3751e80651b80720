"""Which fields of an object the controller owns, for server-side apply, and how it gives them back.

Helm 4 applies on the server, and a change of a field that another manager owns is a conflict. So at
the end of a rollout, and after its deletion, the controller's entries are removed from
`managedFields`: what it promoted belongs to nobody, and Helm takes it over without force. Pure.
"""

from predictor.controller.objects import Object

# Of every write of the controller.
MANAGER = "predictor-rollout"
# That of the Kubernetes client in earlier versions of the controller, which named none.
EARLIER_MANAGER = "OpenAPI-Generator"


def released(item: Object) -> Object | None:
    """The patch that gives up the controller's fields; None: it has none."""
    metadata = item["metadata"]
    entries = metadata.get("managedFields") or []
    kept = [entry for entry in entries if entry.get("manager") not in (MANAGER, EARLIER_MANAGER)]
    if len(kept) == len(entries):
        return None
    # The API server ignores an empty list; one empty entry removes them all.
    changed = {"resourceVersion": metadata["resourceVersion"], "managedFields": kept or [{}]}
    return {"metadata": changed}
