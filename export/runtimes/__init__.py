"""Exported files in their own runtimes: open one, time several."""
