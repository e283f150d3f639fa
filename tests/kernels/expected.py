"""What the probes must say on each kernel, and which of their tests run there."""

from __future__ import annotations

# Probes that are not listed must say "ok", and nothing of what they do without.
EXPECTED: dict[str, dict[str, str]] = {
    "6.1": {},
    "6.12": {},
}


def told(verdict: str, text: str) -> str:
    """Join a verdict and its words."""
    return f"{verdict}: {text}" if text else str(verdict)
