"""Whose API it is: one short file per provider, listed in registry.py."""
