"""``make bench-translation``: what a dialect costs in Python, beside LiteLLM's own translation of the same."""
