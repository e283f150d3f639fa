"""Benchmarks: the budgets of the design, measured beside a peer in the same run."""
