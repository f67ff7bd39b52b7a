"""What operators see: metrics and the access log. Label values come from the config only, never from a request."""
