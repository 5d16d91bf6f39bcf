"""The command `signs` on a device; everything that it runs is imported when it runs."""
