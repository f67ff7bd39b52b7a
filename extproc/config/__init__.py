"""What operators write: frozen models, unknown keys refused; pure, from bytes to values."""
