"""The geometry that the pixels tell, and how well."""
