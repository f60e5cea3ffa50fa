"""Doors: what public functions take, and the settings of the user's libraries that a run takes or refuses."""
