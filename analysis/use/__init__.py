"""Utilization, saturation and errors: one module per resource."""
