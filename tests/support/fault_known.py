"""Cases that are known to fail, each with its reason; a case that is mended is taken out."""

from __future__ import annotations

KNOWN: dict[str, str] = {}
