"""Drawn faces: a canvas, a person, what surrounds it."""
