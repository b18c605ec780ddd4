"""What a report plots: charts, which HTML and PDF each draw in their way, and pictures of matplotlib."""
