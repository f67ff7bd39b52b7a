"""Shows what clients would see if providers failed: the operator's config, the real gateway, fake providers."""
