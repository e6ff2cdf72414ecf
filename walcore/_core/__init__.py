"""The compiled half: Python values in, durable bytes out; bytes in, records out.  Private: its names may change."""
