"""How are the bytes cut? Incremental, pure: bytes in, events or decoded bytes out; no socket, clock or task."""
