"""May it proceed? Who is calling, and what that caller may still use."""
