"""What each activity type does; table.py maps the types to their functions. Uses the engine and the stores."""
