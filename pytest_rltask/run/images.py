"""The container images that a trial's sandboxes had: shown, and compared, since their files are what its model saw."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["changed_images", "images_text", "sandbox_text"]

_ID_CHARS = 12


def images_text(images: Mapping[str, str]) -> str:
    """Name images, each with the beginning of its id.

    Example:
        >>> images_text({"python:3.12-slim": "sha256:8d1c2f4a6b7e9051"})
        'python:3.12-slim (8d1c2f4a6b7e)'
    """
    return ", ".join(f"{name} ({_short(images[name])})" for name in sorted(images))


def sandbox_text(sandbox: str, images: Mapping[str, str]) -> str:
    """Say what isolated a trial's code, and what files that saw.

    Example:
        >>> sandbox_text("docker", {"gcc:13": "sha256:8d1c2f4a6b7e9051"})
        'docker, image gcc:13 (8d1c2f4a6b7e)'
    """
    return f"{sandbox}, image {images_text(images)}" if sandbox and images else sandbox


def changed_images(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say which of a trial's images are not those of its episode opened anew; empty if none is.

    Args:
        was: The images of all its sandboxes.
        now: Those of the sandboxes that are made as the episode is opened: there may be fewer.

    Example:
        >>> changed_images({"gcc:13": "sha256:8d1c2f4a6b7e9051"}, {"gcc:13": "sha256:00f3a1b2c3d4e5f6"})
        'image gcc:13 was 8d1c2f4a6b7e, is 00f3a1b2c3d4'
    """
    phrases = [
        f"image {name} was {_short(was[name])}, is {_short(one)}"
        for name, one in now.items()
        if name in was and was[name] != one
    ]
    if new := {name: one for name, one in now.items() if name not in was}:
        phrases.append(f"image {images_text(new)} is new, {images_text(was) or 'none'} was before")
    return "; ".join(phrases)


def _short(image: object) -> str:
    return str(image).rpartition(":")[2][:_ID_CHARS]
