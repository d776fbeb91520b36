// The subject search: a combobox with a list of what the gateway knows.

import { ask, byId, make, score } from "./dom.js";

export function setUpPicker(choose) {
  const input = byId("search");
  const list = byId("found");
  let found = [];
  let at = -1;
  let running = null;

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (index) => {
    at = index;
    [...list.children].forEach((row, i) => row.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      list.children[at].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", list.children[at].id);
    }
  };
  const pick = (item) => {
    input.value = "";
    close();
    choose(item.id);
  };
  const show = async () => {
    running?.abort();
    running = new AbortController();
    const query = encodeURIComponent(input.value.trim().slice(0, 64));
    try {
      found = (await ask(`/v1/subjects?limit=50&q=${query}`, running.signal)).items;
    } catch {
      return; // overtaken by the next key, or offline
    }
    list.replaceChildren(...found.map((item, i) => row(item, i)));
    if (!found.length) {
      list.append(make("li", { className: "muted", textContent: input.value
        ? "Nothing with this name has been in the news yet."
        : "No subjects yet: they appear with the first scored text." }));
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    at = -1;
  };
  const row = (item, i) => {
    const element = make("li", { id: `found-${i}`, role: "option", "aria-selected": "false" },
      make("span", { textContent: item.name }),
      make("span", { className: "muted", textContent: item.id }),
      item.index === null ? null : score(item.index));
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the input keeps the focus until the choice is made
      pick(item);
    });
    return element;
  };

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && found.length) pick(found[Math.max(at, 0)]);
    else if (event.key === "ArrowDown" && found.length) mark((at + 1) % found.length);
    else if (event.key === "ArrowUp" && found.length) mark((at - 1 + found.length) % found.length);
    else return;
    event.preventDefault();
  });
}
