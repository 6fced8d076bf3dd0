"""When two names mean the same model."""

from __future__ import annotations


def same_model(said: str, served: str) -> bool:
    """Whether a line's `model` names the served one.

    A revision (`…@main`), the case of letters, and the owner of a hub id when only one of the two names has one make
    no difference: `qwen3-0.6b` means `Qwen/Qwen3-0.6B@main`, but `Other/Qwen3-0.6B` does not.
    """
    if said == served:
        return True
    said_owner, said_name = _parts(said)
    served_owner, served_name = _parts(served)
    return said_name == served_name and (not said_owner or not served_owner or said_owner == served_owner)


def _parts(name: str) -> tuple[str, str]:
    owner, _, rest = name.partition("@")[0].lower().rpartition("/")
    return owner, rest
