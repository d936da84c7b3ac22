"""report.html of data prep: what came out, to look at."""
