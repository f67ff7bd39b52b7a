"""Where to? Rules over facts choose an ordered plan of backends, and say why."""
