// The list of alerts: the newest revision of each, and a live stream that keeps it so.

import { ask, byId, make, moment, showEmpty, snippet } from "./dom.js";

const MOST = 60;
const known = new Map();
let fresh = null;

export const alertsOf = (subject) => [...known.values()]
  .filter((alert) => alert.subject === subject)
  .map((alert) => ({ at: (alert.first_minute + 1) * 60000, severity: alert.severity }));

export const newest = () => sorted()[0] ?? null;

function take(alert) {
  const before = known.get(alert.id);
  if (before && before.revision >= alert.revision) return false;
  known.delete(alert.id); // the latest revised is the last one
  known.set(alert.id, alert);
  while (known.size > 4 * MOST) known.delete(known.keys().next().value);
  return true;
}

const sorted = () => [...known.values()].reverse().sort((a, b) => b.end - a.end);

export async function loadAlerts() {
  const page = await ask("/v1/alerts?limit=200");
  page.items.reverse().forEach(take);
}

export function drawAlerts(choose) {
  const onlyOpen = byId("only-open").checked;
  const shown = sorted().filter((alert) => !onlyOpen || alert.state !== "resolved").slice(0, MOST);
  showEmpty(byId("alerts-empty"), shown.length ? null : known.size
    ? "No alert is open. Untick “open only” to see the resolved ones."
    : "No alerts yet. They appear here by themselves as soon as a rule fires: " +
      "when far more is said about a company than usual, in a tone well below its own.");
  const open = new Set([...document.querySelectorAll(".alert details[open]")]
    .map((details) => details.closest(".alert").dataset.id));
  const focused = document.activeElement?.closest?.(".alert")?.dataset.id;
  const part = document.activeElement?.tagName;
  byId("alert-list").replaceChildren(...shown.map((alert) => card(alert, open, choose)));
  if (focused) { // a redraw must not throw keyboard users out of the list
    const again = [...document.querySelectorAll(".alert")].find((each) => each.dataset.id === focused);
    again?.querySelector(part === "SUMMARY" ? "summary" : ".go")?.focus();
  }
  fresh = null;
}

function card(alert, open, choose) {
  const button = make("button", { type: "button", className: "go", textContent: alert.subject,
    title: "Show the chart of this subject" });
  button.addEventListener("click", () => choose(alert.subject));
  const rows = alert.evidence.map((each) => snippet(each.score, each.snippet, [
    each.channel, " · ", moment(each.event_time),
    each.copies > 1 ? ` · ${each.copies} copies, ${each.verdict}` : "", ` · weight ${each.weight.toFixed(2)}`,
  ]));
  const details = rows.length
    ? make("details", { open: open.has(alert.id) },
      make("summary", { textContent: `Evidence (${rows.length} text${rows.length === 1 ? "" : "s"})` }),
      make("ol", {}, ...rows))
    : null;
  return make("li", {
    className: alert.id === fresh ? "alert fresh" : "alert",
    data: { id: alert.id, severity: alert.severity, state: alert.state },
  },
  make("div", { className: "meta" },
    make("span", { className: "badge", textContent: alert.severity, data: { severity: alert.severity } }),
    alert.verdict === "coordinated"
      ? make("span", { className: "badge", textContent: "coordinated", data: { severity: "warning" } })
      : null,
    button, make("span", { textContent: alert.state }), moment(alert.end)),
  make("p", { className: "sentence", textContent: alert.summary }), details);
}

export function listen(onAlert, onState) {
  let stream = null;
  let retry = null;
  const connect = () => {
    clearTimeout(retry);
    stream = new EventSource("/v1/stream");
    stream.addEventListener("open", () => onState("live"));
    stream.addEventListener("error", () => {
      onState("wait");
      // After an error answer the browser gives up; we don't.
      if (stream.readyState === EventSource.CLOSED) retry = setTimeout(connect, 3000);
    });
    stream.addEventListener("reset", () => { known.clear(); });
    stream.addEventListener("alert", (event) => {
      const { alert } = JSON.parse(event.data);
      if (take(alert)) {
        fresh = alert.id;
        onAlert(alert);
      }
    });
  };
  connect();
  addEventListener("pagehide", () => { clearTimeout(retry); stream.close(); });
}
