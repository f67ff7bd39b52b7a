"""Where Envoy speaks to us: the only package that awaits on behalf of a request."""
