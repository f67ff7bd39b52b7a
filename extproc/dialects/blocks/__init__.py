"""Turns of content blocks, as Anthropic writes them and AWS's Converse took them over: what the two dialects share.

A block is a dict of Anthropic's form; a dialect that has another maps it. What differs between generations of Claude is
the same wherever Claude is served, so it is here too.
"""
