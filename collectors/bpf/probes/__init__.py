"""One probe in each module."""
