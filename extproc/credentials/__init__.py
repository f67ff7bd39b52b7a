"""Credentials for providers: read from the environment or from files, and never shown."""
