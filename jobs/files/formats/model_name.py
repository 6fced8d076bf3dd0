"""Compare names of models."""

from __future__ import annotations


def same_model(said: str, served: str) -> bool:
    """Return whether a line's `model` names the served model.

    The comparison ignores a revision (`…@main`) and the case of letters. It ignores the owner of a hub id if only one
    name has an owner. So `qwen3-0.6b` matches `Qwen/Qwen3-0.6B@main`, but `Other/Qwen3-0.6B` does not.
    """
    if said == served:
        return True
    said_owner, said_name = _parts(said)
    served_owner, served_name = _parts(served)
    return said_name == served_name and (not said_owner or not served_owner or said_owner == served_owner)


def _parts(name: str) -> tuple[str, str]:
    owner, _, rest = name.partition("@")[0].lower().rpartition("/")
    return owner, rest
