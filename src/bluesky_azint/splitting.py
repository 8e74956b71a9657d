SPLITTINGS = ("no", "bbox", "full")
