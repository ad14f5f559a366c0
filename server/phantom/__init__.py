"""The sample feed, source `phantom:`; server/phantom/feed.py is the way in."""
