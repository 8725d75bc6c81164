"""What docs/measure.py gathers, and the tables that docs/places.py writes."""
