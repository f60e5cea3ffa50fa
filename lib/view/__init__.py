"""Figures, pictures, the inspector and the front page."""
