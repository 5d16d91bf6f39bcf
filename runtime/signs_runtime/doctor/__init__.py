"""Finds what keeps a device from running bundles well."""
