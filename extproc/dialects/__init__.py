"""How requests and replies are written: one folder per wire format, and the protocol they all keep (base.py)."""
