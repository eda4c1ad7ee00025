"""Launchers: each parses its flags and calls one library function."""
