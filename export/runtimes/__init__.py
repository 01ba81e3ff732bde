"""Exported files in their own runtimes: opened, compared by their predictions, and timed."""
