"""Judgments: pure functions of samples and of earlier state."""
