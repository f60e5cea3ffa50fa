"""Draws synthetic faces: a canvas, a person, and the surroundings."""
