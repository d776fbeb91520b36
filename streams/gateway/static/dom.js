// Building elements. Data only ever become text, never markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function showEmpty(element, text) {
  element.hidden = !text;
  element.textContent = text ?? "";
}

export const signed = (value, digits = 2) =>
  value === null || value === undefined
    ? "–"
    : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

export const tone = (value) => (value > 0.1 ? "good" : value < -0.1 ? "bad" : "none");

export const score = (value) =>
  make("span", { className: "score", textContent: signed(value), data: { tone: tone(value) } });

const format = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

export function moment(milliseconds) {
  const date = new Date(milliseconds);
  const year = date.getFullYear() === new Date().getFullYear() ? "" : ` ${date.getFullYear()}`;
  return make("time", {
    dateTime: date.toISOString(), title: date.toISOString(),
    textContent: format.format(date) + year,
  });
}

export function snippet(value, text, about, url) {
  const safe = url && /^https?:\/\//i.test(url);
  const source = safe
    ? make("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank" }, "source")
    : null;
  return make("li", { className: "snippet" }, score(value), make("p", { textContent: text }),
    make("p", { className: "muted" }, ...about, ...(source ? [" · ", source] : [])));
}

export async function ask(path, signal) {
  const response = await fetch(path, { signal, headers: { accept: "application/json" } });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}
