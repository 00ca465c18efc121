"""A run's report: plots, one HTML page, one Markdown page, and the terminal's summary."""
