// The chart of one subject: index with its interval above, texts below, alerts as flags.

/* global Plotly */
import { byId, signed } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FLAG = { critical: "--bad", warning: "--warn", info: "--accent" };

export function drawChart(items, key, alerts, baselineName) {
  const points = items.filter((item) => item.windows[key]).map((item) => [item.end, item.windows[key]]);
  const x = points.map(([end]) => new Date(end));
  const pick = (name) => points.map(([, values]) => values[name]);
  const line = (name, label, extra) => ({
    x, y: pick(name), name: label, mode: "lines", connectgaps: false,
    hovertemplate: "%{y:+.3f}", ...extra,
  });
  const traces = [
    line("low", "95 % low", { line: { width: 0 }, showlegend: false, hoverinfo: "skip", hovertemplate: null }),
    line("high", "95 % interval", {
      legendrank: 2,
      line: { width: 0 }, fill: "tonexty", fillcolor: colour("--band"), hoverinfo: "skip", hovertemplate: null,
    }),
    line("baseline", "baseline", { legendrank: 3, line: { color: colour("--base"), width: 1.5, dash: "dash" } }),
    line("echo_index", "echo index", { legendrank: 4, line: { color: colour("--echo"), width: 1.5, dash: "dot" } }),
    line("index", "index", { legendrank: 1, line: { color: colour("--accent"), width: 2.5 } }),
    {
      x, y: pick("texts"), name: "texts", type: "scatter", legendrank: 5, mode: "lines", yaxis: "y2",
      line: { color: colour("--base"), width: 1, shape: "hvh" }, fill: "tozeroy",
      fillcolor: colour("--bars"), hovertemplate: "%{y:,d}",
    },
  ];
  const near = (end) => points.reduce(
    (best, point) => (Math.abs(point[0] - end) < Math.abs(best[0] - end) ? point : best), points[0]);
  const flags = alerts.filter((alert) => x.length && alert.at >= +x[0] && alert.at <= +x.at(-1));
  if (flags.length) {
    traces.push({
      x: flags.map((alert) => new Date(alert.at)),
      y: flags.map((alert) => near(alert.at)[1].index ?? 0),
      name: "alert", mode: "markers", legendrank: 6, hovertemplate: "%{text}",
      text: flags.map((alert) => alert.severity),
      marker: {
        symbol: "diamond", size: 12, color: flags.map((alert) => colour(FLAG[alert.severity])),
        line: { color: colour("--card"), width: 2 },
      },
    });
  }
  const axis = {
    gridcolor: colour("--line"), zerolinecolor: colour("--base"), linecolor: colour("--line"),
    tickfont: { color: colour("--muted") }, fixedrange: true,
  };
  const layout = {
    margin: { l: 48, r: 12, t: 34, b: 44 }, hovermode: "x unified", dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { color: colour("--muted") }, traceorder: "normal" },
    xaxis: { ...axis, zeroline: false, anchor: "y2", hoverformat: "%b %-d %Y, %H:%M" },
    yaxis: { ...axis, domain: [0.3, 1], tickformat: "+.1f", zeroline: true, nticks: 7 },
    yaxis2: { ...axis, domain: [0, 0.2], rangemode: "tozero", nticks: 3, zeroline: false,
      title: { text: "texts", font: { color: colour("--muted"), size: 12 } } },
    shapes: flags.map((alert) => ({
      type: "line", x0: new Date(alert.at), x1: new Date(alert.at), y0: 0, y1: 1, yref: "paper",
      line: { color: colour(FLAG[alert.severity]), width: 1, dash: "dot" },
    })),
  };
  byId("chart").hidden = points.length === 0;
  describe(points, baselineName, flags.length);
  if (points.length) {
    return Plotly.react("chart", traces, layout, { displayModeBar: false, responsive: true });
  }
  return Promise.resolve();
}

function describe(points, name, alerts) {
  const text = byId("chart-text");
  text.hidden = points.length === 0;
  if (!points.length) return;
  const [, last] = points.at(-1);
  const interval = last.low === null ? "" : ` (95 % interval ${signed(last.low)} to ${signed(last.high)})`;
  text.textContent =
    `Index of ${name}: ${signed(last.index)}${interval}, usual tone ${signed(last.baseline)}, ` +
    `${last.texts} texts in the window, ${alerts} alert${alerts === 1 ? "" : "s"} in the time shown.`;
}
