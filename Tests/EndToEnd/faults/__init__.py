"""Upstreams and clients that fail in every way: answered truthfully, in time, and nothing is left."""
