"""Frames in, frames out: read from source.py to sink.py, the files are the data flow."""
