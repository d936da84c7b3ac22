"""Draw charts in HTML pages that load nothing from elsewhere.

chart.js draws them with uPlot 1.6.32 (MIT, uplot/LICENSE):

    html_page("Title", render_chart(Chart("Loss", "iteration", "nats", [Series("train", x, y)])) + render_library())
"""

from nemotron.charts.chart import Chart, Marker, Series, render_chart, render_library

__all__ = ["Chart", "Marker", "Series", "render_chart", "render_library"]
