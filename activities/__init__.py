"""One step of I/O each: thin, idempotent, calling the packages below."""
