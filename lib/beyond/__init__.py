"""Beyond the paper: other losses, networks and scores."""
