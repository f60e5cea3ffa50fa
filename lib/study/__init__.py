"""The command line `python -m lib.study`: plans, executes, reports, checks and publishes the runs of a study."""
