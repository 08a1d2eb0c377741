"""More text, messages or attachments than anybody should send."""

from __future__ import annotations

from policies.screening.material import Material
from policies.screening.settings import SizeSettings


def too_large(material: Material, settings: SizeSettings) -> str | None:
    """Why; None when it is not."""
    if material.characters > settings.characters:
        return "characters"
    if material.messages > settings.messages:
        return "messages"
    if material.attachments > settings.attachments:
        return "attachments"
    return None
