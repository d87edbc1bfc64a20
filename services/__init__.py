"""The small processes that watch the world and act on it; each may be restarted alone."""
