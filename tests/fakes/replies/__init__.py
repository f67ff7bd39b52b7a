"""What a healthy fake answers: deterministic functions from a checked request to a reply, a file for each operation."""
