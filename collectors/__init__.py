"""Facts: what the kernel said, or why it did not."""
