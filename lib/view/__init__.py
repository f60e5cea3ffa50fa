"""What people look at: figures, pictures, the inspector, the front page."""
