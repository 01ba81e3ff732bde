"""Every network meets every property: one file a property, over everything in the registry."""
