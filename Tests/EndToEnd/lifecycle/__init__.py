"""Validating, starting, watching, draining and ending the process."""
