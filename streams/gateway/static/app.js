// The page: alerts on one side, one subject on the other. No framework, no build.

import { alertsOf, drawAlerts, listen, loadAlerts, newest } from "./alerts.js";
import { drawChart } from "./chart.js";
import { ask, byId, make, moment, showEmpty, signed, snippet, tone } from "./dom.js";
import { setUpPicker } from "./picker.js";

const HOUR = 3_600_000;
const WINDOWS = [["30m", "30 min"], ["8h", "8 h"], ["24h", "24 h"]];
const RANGES = [["6", "6 h"], ["24", "24 h"], ["168", "7 days"], ["0", "all"]];
const EVERY = { 6: 1, 24: 1, 168: 10, 0: 30 };
const REFRESH_MS = 10_000;
const STATES = {
  thin: "Thin: under three effective texts in this window, so its index says little.",
  feed_hole: "Feed hole: the feed brings under a quarter of its usual, so silence means nothing.",
  blind: "Blind: under five days of history, so there is nothing to compare with.",
};

const chosen = { subject: null, window: "8h", range: "24" };
let shown = null;
let turn = 0;

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  chosen.subject = given.get("subject");
  if (WINDOWS.some(([key]) => key === given.get("window"))) chosen.window = given.get("window");
  if (RANGES.some(([key]) => key === given.get("range"))) chosen.range = given.get("range");
}

function choose(change) {
  Object.assign(chosen, change);
  chosen.subject ??= shown?.subject ?? "market";
  history.replaceState(null, "", `#${new URLSearchParams(chosen)}`);
  refresh();
}

const chooseSubject = (subject) => choose({ subject });

function setUpChoice(id, options, name) {
  byId(id).append(...options.map(([value, label]) => {
    const input = make("input", { type: "radio", name, value, checked: chosen[name] === value });
    input.addEventListener("change", () => choose({ [name]: value }));
    return make("label", {}, input, make("span", { textContent: label }));
  }));
}

async function refresh() {
  const mine = ++turn;
  try {
    await refreshSubject(mine);
  } catch {
    status("down", "The gateway does not answer");
  }
}

async function refreshSubject(mine) {
  const subject = chosen.subject ?? newest()?.subject ?? "market";
  const path = `/v1/subjects/${encodeURIComponent(subject)}`;
  const { window, range } = chosen;
  const found = await ask(`/v1/subjects?limit=500&q=${encodeURIComponent(subject.slice(0, 64))}`);
  const about = found.items.find((item) => item.id === subject);
  const from = about?.latest && range !== "0" ? `&from=${about.latest - range * HOUR}` : "";
  const [items, texts] = about ? await Promise.all([
    ask(`${path}/windows?limit=2000&every=${EVERY[range]}${from}`),
    ask(`${path}/texts?limit=20`),
  ]) : [null, null];
  if (mine !== turn) return; // another subject was chosen meanwhile
  const last = items?.items.at(-1);
  const name = about?.name ?? (subject === "market" ? "Whole market" : subject);
  byId("subject-title").textContent = name;
  byId("subject-id").textContent = last ? "" : subject;
  if (last) byId("subject-id").append(`${subject} · as of `, moment(last.end), ` · model ${last.model}`);
  shown = { items: items?.items ?? [], window, subject, name };
  drawTiles(last, last?.windows[window]);
  drawTexts(texts?.items ?? []);
  await redrawChart();
}

async function redrawChart() {
  if (!shown) return;
  await drawChart(shown.items, shown.window, alertsOf(shown.subject), shown.name);
  if (shown.items.length) return showEmpty(byId("chart-empty"), null);
  showEmpty(byId("chart-empty"),
    `There is no index of “${shown.name}” yet. It appears here a minute or two after the first ` +
    "text about it. Send one to try:");
  byId("chart-empty").append(make("code", { textContent:
    `curl ${location.origin}/v1/texts -H 'content-type: application/json' \\\n` +
    `  -d '{"text": "Apple raises its outlook", "published_at": "${new Date().toISOString()}"}'` }));
}

function drawTiles(last, values) {
  const tile = (label, text, note, value) => make("div", {}, make("dt", { textContent: label }),
    make("dd", { data: { tone: value === undefined ? "none" : tone(value) } }, text,
      note ? make("small", { textContent: note }) : null));
  byId("tiles").hidden = !values;
  showEmpty(byId("subject-state"), STATES[values?.state]);
  if (!values) return;
  byId("tiles").replaceChildren(
    tile("Index", signed(values.index), `${signed(values.low)} to ${signed(values.high)}`,
      values.index ?? 0),
    tile("Echo index", signed(values.echo_index), `${percent(values.echo)} copies`),
    tile("Tone", sigmas(values.z_tone), `against its usual ${signed(values.baseline)}`),
    tile("Buzz", isGiven(values.buzz) ? `${values.buzz.toFixed(1)} ×` : "–",
      isGiven(values.expected) ? `usual: ${values.expected.toFixed(1)} stories` : "usual: not known yet"),
    tile("S-Score", signed(last.s_score, 1), `${signed(last.s_delta)} in 15 min`),
    tile("Texts", values.texts.toLocaleString(),
      `${values.stories.toLocaleString()} stories, ${values.authors.toLocaleString()} authors`),
  );
}

const isGiven = (value) => value !== null && value !== undefined;
const percent = (share) => (isGiven(share) ? `${Math.round(100 * share)} %` : "no");
const sigmas = (z) => (isGiven(z) ? `${signed(z, 1)} σ` : "–");

function drawTexts(texts) {
  showEmpty(byId("texts-empty"), texts.length ? null : "No scored texts about this subject yet.");
  byId("text-list").replaceChildren(...texts.map((text) => snippet(
    text.sentiment?.score ?? null, text.text,
    [text.channel, " · ", moment(text.event_time), text.topic ? ` · ${text.topic}` : ""], text.url,
  )));
}

function status(state, text) {
  if (byId("status").textContent === text) return;
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

async function onStream(state) {
  if (state === "live") {
    status("live", "Live");
    await reload(); // whatever happened while we were away
  } else {
    status("wait", "Reconnecting…");
  }
}

async function reload() {
  try {
    await loadAlerts();
  } catch {
    return status("down", "The gateway does not answer");
  }
  drawAlerts(chooseSubject);
  return refresh();
}

readAddress();
setUpChoice("window-choice", WINDOWS, "window");
setUpChoice("range-choice", RANGES, "range");
setUpPicker(chooseSubject);
byId("only-open").addEventListener("change", () => drawAlerts(chooseSubject));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawChart);
listen((alert) => {
  drawAlerts(chooseSubject);
  if (alert.subject === shown?.subject) refresh();
}, onStream);
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
