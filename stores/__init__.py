"""Payloads and results in Blob Storage: everything that history may only refer to."""
