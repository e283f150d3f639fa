"""Cause patterns: what may stand behind several findings at once; each module has PATTERNS."""
