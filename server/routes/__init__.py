"""The HTTP surface, one file for each noun."""
