"""From the tidy table to intervals, correlations, verdicts, figures and the report. Reads study.results only."""
