"""A run's report: plots, one HTML page, one Markdown page, and the terminal's summary.

`azr.report.build` writes it; `azr.report.moment` reads where a run stands now, and
imports no plotting library.
"""
