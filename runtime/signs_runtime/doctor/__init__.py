"""What keeps a device from running bundles well."""
