"""Rules: one function each, one module per resource."""
