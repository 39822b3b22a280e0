// Finding rollouts in a bundle, where no server answers: the conditions and orders of the viewer's list, kept in the address.
const found = document.getElementById("found");
const COLUMNS = ["step", "row", "prompt_id", "rung", "outcome", "cause", "reward", "words", "disagreement", "text"];
const PAGE = 50;
const IDEOGRAPH = "[\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}]";
const WORD = new RegExp(`${IDEOGRAPH}|(?:(?!${IDEOGRAPH})[\\p{L}\\p{N}])+`, "gu");

class RolloutSearch {
  constructor(form, data) {
    this.form = form;
    this.data = data;
    this.rollouts = data.rollouts.map((values, place) => ({ place, ...Object.fromEntries(COLUMNS.map((name, at) => [name, values[at]])) }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = [...new FormData(form)].filter(([, value]) => value !== "");
      location.hash = new URLSearchParams(given).toString();
    });
    addEventListener("hashchange", () => this.show());
    this.show();
  }

  show() {
    const query = new URLSearchParams(location.hash.slice(1));
    for (const field of this.form.elements) if (field.name) field.value = query.get(field.name) || (field.name === "sort" ? "step" : "");
    const problem = this.problem(query);
    const rows = problem ? [] : this.sorted(this.rollouts.filter(this.condition(query)), query.get("sort") || "step");
    const at = Math.max(0, Number(query.get("at")) || 0);
    const shown = rows.slice(at, at + PAGE);
    document.getElementById("problem").textContent = problem;
    document.getElementById("count").textContent = `${rows.length.toLocaleString("en")} found` + (shown.length ? `; ${at + 1} to ${at + shown.length} are shown` : "");
    for (const old of document.querySelectorAll("#choices tr.choice")) old.remove();
    document.querySelector("#choices tbody").append(...shown.map((it) => this.line(it)));
    this.turn("prev", query, at - PAGE, at > 0);
    this.turn("next", query, at + PAGE, at + PAGE < rows.length);
  }

  problem(query) {
    for (const field of this.form.elements) {
      const given = field.inputMode === "decimal" && query.get(field.name);
      if (given && !Number.isFinite(Number(given))) return `${field.parentElement.firstChild.textContent.trim()}: '${given}' is not a number`;
    }
    return "";
  }

  // Whether a rollout meets all conditions, as a function; a value that is missing meets no bound.
  condition(query) {
    const number = (name) => (query.get(name) ? Number(query.get(name)) : null);
    const first = number("step");
    const bounds = [["step", first, number("to") ?? first], ["reward", number("min_reward"), number("max_reward")],
      ["words", number("min_words"), number("max_words")], ["disagreement", number("min_disagreement"), null]];
    const [prompt, outcome, cause] = ["prompt", "outcome", "cause"].map((name) => query.get(name));
    const places = this.placesOf(query.get("q") || "");
    const within = (value, low, high) => (low === null && high === null) || (value !== null && (low === null || value >= low) && (high === null || value <= high));
    return (it) => bounds.every(([name, low, high]) => within(it[name], low, high)) && (!prompt || it.prompt_id === prompt)
      && (!outcome || (it.outcome || "none") === outcome) && (!cause || (cause === "any" ? it.cause !== null : it.cause === cause))
      && (places === null || places.has(it.place));
  }

  // The rollouts whose texts have all the words; null if none is asked for.
  placesOf(text) {
    const plain = text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
    let places = null;
    for (const word of new Set(plain.match(WORD) || [])) {
      let place = 0;
      const having = new Set((Object.hasOwn(this.data.words, word) ? this.data.words[word] : []).map((distance) => (place += distance)));
      places = places === null ? having : new Set([...places].filter((it) => having.has(it)));
    }
    return places;
  }

  sorted(rows, order) {
    if (order === "latest") return rows.sort((a, b) => b.step - a.step || a.row - b.row);
    const [name, sign] = order.startsWith("-") ? [order.slice(1), -1] : [order, 1];
    if (name === "step") return rows;
    const missing = (it) => it[name] === null;
    return rows.sort((a, b) => missing(a) - missing(b) || sign * (a[name] - b[name]) || a.place - b.place);
  }

  line(it) {
    const row = document.createElement("tr");
    row.className = "choice";
    const cell = (content, { label = "", kind = "" } = {}) => {
      const element = row.appendChild(document.createElement("td"));
      if (label) element.dataset.label = label;
      if (kind) element.className = kind;
      element.append(content);
    };
    const link = document.createElement("a");
    link.href = `${this.data.pages[it.step]}#row-${it.row}`;
    link.textContent = it.prompt_id;
    cell(it.step, { label: "step", kind: "number" });
    cell(it.row, { label: "row", kind: "number" });
    cell(link);
    cell(document.querySelector(`template[data-outcome=${it.outcome || "none"}]`).content.cloneNode(true));
    cell(it.reward === null ? it.cause || "none" : shortened(it.reward, 3), { label: "reward", kind: "number" });
    cell(it.rung, { label: "rung", kind: "number" });
    cell(it.words, { label: "words", kind: "number" });
    if (it.disagreement === null) cell("", { kind: "number" });
    else cell(shortened(it.disagreement, 2), { label: "disagreement", kind: "number" });
    cell(it.text, { kind: "opening" });
    return row;
  }

  turn(rel, query, at, isPossible) {
    const link = document.querySelector(`a[rel=${rel}]`);
    link.hidden = !isPossible;
    query.set("at", Math.max(0, at));
    link.href = `#${query}`;
  }
}

function shortened(number, digits) {
  return String(Number(number.toPrecision(digits)));
}

if (found) new RolloutSearch(document.getElementById("filter"), JSON.parse(found.textContent));
