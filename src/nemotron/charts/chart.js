// Draws every `figure.chart` of the page from the JSON in it (see chart.py).
"use strict";
(() => {
  const HEIGHT = 260, ROW = 16, MOST_ROWS = 3, FONT = "12px system-ui, sans-serif";
  const drawn = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

  function format(value) {
    const size = Math.abs(value);
    if (size !== 0 && size < 1e-3) return String(Number(value.toPrecision(4)).toExponential());
    return digits.format(value);
  }

  function formatTick(value) {
    return value === null ? "" : Math.abs(value) >= 1e6 ? short.format(value) : format(value);
  }

  function draw(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const plot = figure.querySelector(".chart-plot");
    // Trends come after all series; the legend knows nothing of them.
    const trends = data.series.flatMap((series, index) => (series.trend ? [{ ...series, ...series.trend, of: index }] : []));
    const joined = uPlot.join([...data.series, ...trends].map((series) => [series.x, series.y]));
    const whole = joined[0].every(Number.isInteger);
    const legend = new Legend(figure.querySelector(".chart-legend"), data, joined);
    const reach = [joined[0][0], joined[0][joined[0].length - 1]];
    const aside = reach[0] === reach[1] ? 1 : 0;
    const labels = new Labels(data.markers, reach);

    const axis = { stroke: () => color("--soft"), font: FONT, labelFont: FONT, labelSize: 22 };
    axis.grid = axis.ticks = { stroke: () => color("--grid"), width: 1 };
    const scales = {
      x: { time: false, range: (_, low, high) => (low === reach[0] && high === reach[1] ? [low - aside, high + aside] : [low, high]) },
      y: data.log ? { distr: 3 } : {},
    };
    const options = {
      width: plot.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      scales,
      padding: [() => 8 + ROW * labels.rows(plot.clientWidth), 30, 0, 0],
      cursor: {
        hover: { skip: [null, undefined] },
        points: { size: 7 },
        ...(data.group && { sync: { key: data.group, scales: ["x", null] } }),
      },
      axes: [
        { ...axis, label: data.x, size: 34, values: (_, at) => at.map(formatTick), ...(whole && { incrs: wholeSteps() }) },
        {
          ...axis,
          label: data.y,
          size: (_, values) => 22 + 7 * Math.max(3, ...(values || []).map((value) => value.length)),
          values: (_, at) => at.map(formatTick),
        },
      ],
      series: [{}, ...data.series.map(styleOf), ...trends.map(styleOfTrend)],
      hooks: {
        draw: [(chart) => labels.draw(chart)],
        setCursor: [(chart) => legend.show(chart, labels)],
      },
    };
    const chart = new uPlot(options, joined, plot);
    legend.toggle = (index, shown) => {
      chart.setSeries(index + 1, { show: shown });
      const trend = trends.findIndex((each) => each.of === index);
      if (trend >= 0) chart.setSeries(data.series.length + trend + 1, { show: shown });
    };
    new ResizeObserver(() => {
      if (plot.clientWidth && plot.clientWidth !== chart.width) chart.setSize({ width: plot.clientWidth, height: HEIGHT });
    }).observe(plot);
    plot.title = "Drag to zoom, double-click to see all";
    figure.querySelector("details").open = false;
    drawn.push(chart);
  }

  function wholeSteps() {
    const steps = [];
    for (let power = 1; power < 1e15; power *= 10) steps.push(power, 2 * power, 5 * power);
    return steps;
  }

  function styleOf(series) {
    const stroke = () => color(`--chart-${series.color}`);
    const isDotted = series.kind === "dots";
    const points = { show: isDotted || series.x.length < 40, size: isDotted ? 6 : 4, fill: stroke };
    return { stroke, width: isDotted ? 1 : 1.5, alpha: series.trend ? 0.35 : 1, points };
  }

  function styleOfTrend(series) {
    return { stroke: () => color(`--chart-${series.color}`), width: 2, points: { show: false } };
  }

  // What stands above a plot: the labels of markers, in as many rows as keep them apart.
  class Labels {
    constructor(markers, reach) {
      this.markers = markers.filter((mark) => mark.at >= reach[0] && mark.at <= reach[1]);
      this.loud = this.markers.filter((mark) => !mark.quiet);
      this.reach = reach;
      this.pen = document.createElement("canvas").getContext("2d");
      this.pen.font = FONT;
    }

    place(toPixel, right) {
      const ends = [];
      return this.loud.map((mark) => {
        const at = toPixel(mark.at), width = this.pen.measureText(mark.label).width;
        const left = Math.max(Math.min(at + 4, right - width), 0);
        const row = [0, 1, 2].find((each) => (ends[each] ?? -Infinity) + 8 < left);
        if (row === undefined || width > right) return { mark, at, row: -1 }; // its label is left to hovering
        ends[row] = left + width;
        return { mark, at, left, row };
      });
    }

    rows(width) {
      const [low, high] = this.reach, plot = Math.max(width - 90, 50);
      const placed = this.place((x) => ((x - low) / (high - low || 1)) * plot, plot);
      return Math.min(MOST_ROWS, Math.max(0, ...placed.map(({ row }) => row + 1)));
    }

    draw(chart) {
      const { ctx, bbox } = chart, ratio = uPlot.pxRatio;
      const toPixel = (x) => chart.valToPos(x, "x");
      ctx.save();
      ctx.scale(ratio, ratio);
      ctx.font = FONT;
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      const left = bbox.left / ratio, top = bbox.top / ratio, height = bbox.height / ratio, width = bbox.width / ratio;
      const inside = (at) => at >= -0.5 && at <= width + 0.5;
      ctx.strokeStyle = color("--edge");
      ctx.lineWidth = 1;
      for (const mark of this.markers.filter((each) => each.quiet)) {
        const at = toPixel(mark.at);
        if (inside(at)) line(ctx, left + at, top + height - 7, top + height, []);
      }
      for (const { mark, at, left: begin, row } of this.place(toPixel, width)) {
        if (!inside(at)) continue;
        line(ctx, left + at, top - 2 - ROW * Math.max(row, 0), top + height, [4, 3]);
        ctx.fillStyle = color("--soft");
        if (row >= 0) ctx.fillText(mark.label, left + begin, top - ROW * (row + 0.5) - 2);
      }
      ctx.restore();
    }

    near(chart) {
      return this.markers
        .filter((mark) => Math.abs(chart.valToPos(mark.at, "x") - chart.cursor.left) < 6)
        .slice(0, 3)
        .map((mark) => mark.label);
    }
  }

  function line(ctx, x, from, to, dash) {
    ctx.beginPath();
    ctx.setLineDash(dash);
    ctx.moveTo(x, from);
    ctx.lineTo(x, to);
    ctx.stroke();
  }

  // Below a plot: a button for each series that hides it, with its value under the mouse, or its last one.
  class Legend {
    constructor(place, data, joined) {
      this.data = data;
      this.joined = joined;
      this.at = place.appendChild(document.createElement("span"));
      this.at.className = "at";
      this.values = data.series.map((series, index) => {
        const button = place.appendChild(document.createElement("button"));
        button.type = "button";
        button.setAttribute("aria-pressed", "true");
        button.appendChild(document.createElement("i")).style.background = `var(--chart-${series.color})`;
        button.append(series.name);
        button.onclick = () => {
          const shown = button.getAttribute("aria-pressed") === "false";
          button.setAttribute("aria-pressed", String(shown));
          this.toggle(index, shown);
        };
        return button.appendChild(document.createElement("b"));
      });
      this.rest();
    }

    rest() {
      const last = this.joined[0][this.joined[0].length - 1];
      this.at.textContent = `${this.data.x} ${format(last)}`;
      this.data.series.forEach((series, index) => {
        this.values[index].textContent = format(series.y[series.y.length - 1]);
      });
    }

    show(chart, labels) {
      const { idx, idxs, left } = chart.cursor;
      if (idx === null || idx === undefined || left < 0) return this.rest();
      const at = this.joined[0][idx], { min, max } = chart.scales.x;
      this.at.textContent = [`${this.data.x} ${format(at)}`, ...labels.near(chart)].join(" · ");
      this.data.series.forEach((_, index) => {
        const found = idxs[index + 1], value = found == null ? null : this.joined[index + 1][found];
        const x = found == null ? at : this.joined[0][found];
        const elsewhere = Math.abs(x - at) > (max - min) / 50 ? ` at ${format(x)}` : "";
        this.values[index].textContent = value == null ? "" : format(value) + elsewhere;
      });
    }
  }

  function drawAll() {
    document.querySelectorAll("figure.chart").forEach(draw);
    const repaint = () => drawn.forEach((chart) => chart.redraw(false));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
  else drawAll();
})();
