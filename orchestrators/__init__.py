"""What happens in which order. Deterministic: no I/O, no clock but the context's."""
