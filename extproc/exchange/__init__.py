"""The life of a request, as values: arrival decides, attempt encodes, reply decodes, verdict judges, outcome tells."""
