"""eBPF probes, and the worker process that compiles and runs them."""
