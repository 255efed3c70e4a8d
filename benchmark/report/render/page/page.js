"use strict";
// Draw charts to the width of the page, and let the reader search, filter and sort all rows.
(() => {
  const byId = (id) => document.getElementById(id);

  const made = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Unpack a text that is stored gzipped, as base 85: five letters for four bytes.
  const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;/=.?@^_:{|}~";
  const unpacked = async (id) => {
    const letters = byId(id).textContent;
    const worth = new Map([...LETTERS].map((letter, value) => [letter.charCodeAt(0), value]));
    const bytes = new Uint8Array(Math.floor(letters.length * 4 / 5));
    for (let at = 0, to = 0; at < letters.length; at += 5, to += 4) {
      let sum = 0;
      for (let place = at; place < at + 5; place += 1) sum = sum * 85 + (worth.get(letters.charCodeAt(place)) ?? 84);
      for (let byte = 0; byte < 4; byte += 1) bytes[to + byte] = Math.floor(sum / 256 ** (3 - byte)) % 256;
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // Charts

  const specs = JSON.parse(byId("data-charts").textContent);
  const hint = byId("hint");

  const tell = (_, event, __, value) => {
    const known = value !== null && typeof value === "object" ? Object.entries(value) : [];
    hint.textContent = known.map(([name, one]) => `${name}: ${one}`).join("\n");
    hint.hidden = known.length === 0;
    if (hint.hidden) return;
    const room = document.documentElement.clientWidth - hint.offsetWidth - 8;
    hint.style.left = `${Math.max(4, Math.min(event.clientX + 14, room))}px`;
    hint.style.top = `${event.clientY + 16 + hint.offsetHeight > innerHeight ? event.clientY - hint.offsetHeight - 8 : event.clientY + 16}px`;
  };

  const fitted = (spec, width) => {
    const narrow = width < 560;
    const legend = narrow ? { columns: width < 420 ? 1 : 2, labelLimit: width - 60 } : {};
    const config = { ...spec.config, background: "transparent", legend: { ...spec.config.legend, ...legend } };
    const fit = narrow ? withoutColumns({ ...spec, config }) : { ...spec, config };
    const inner = fit.spec && !fit.repeat ? fit.spec : null;
    if (inner && typeof inner.width === "number") {
      const columns = Math.max(1, Math.min(fit.columns ?? 2, Math.floor(width / (inner.width + 60))));
      if (fit.facet && fit.facet.field) fit.columns = columns;
      // The first panel has the words of the y axis beside it, each with scales of its own has figures.
      const names = ["nominal", "ordinal"].includes(inner.encoding?.y?.type) ? 130 : 70;
      const own = fit.resolve?.scale?.y === "independent" ? names * columns : names;
      const room = Math.floor((width - own) / columns) - 20;
      fit.spec = { ...inner, width: Math.max(120, narrow ? room : Math.min(inner.width, room)) };
    } else if (fit.mark || fit.layer) {
      const parts = fit.encoding ?? {};
      if (parts.row || parts.column || parts.facet) {
        if (!parts.column && !parts.facet) fit.width = Math.max(140, Math.min(width, 820) - 170);
      } else {
        const labelled = fit.layer?.some((one) => one.mark?.align === "left");  // words behind the longest bar
        fit.width = Math.min(width, 820) - (labelled ? 52 : 0);
        // A number of pixels: a height in steps can't be fitted to a width.
        const y = parts.y ?? fit.layer?.[0].encoding?.y;
        const distinct = (field) => (field ? new Set(spec.datasets.rows.map((row) => row[field])).size : 1);
        const discrete = y?.field && (fit.height?.step || (fit.height === undefined && ["nominal", "ordinal"].includes(y.type)));
        if (discrete) fit.height = (fit.height?.step ?? 22) * distinct(y.field) * distinct(parts.yOffset?.field);
        fit.autosize = { type: "fit-x", contains: "padding" };
      }
    }
    return fit;
  };

  // A chart's own number of columns of its legend is for a wide page.
  const withoutColumns = (node) => {
    if (Array.isArray(node)) return node.map(withoutColumns);
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => {
      if (key === "datasets" || key === "config") return [key, value];
      if (key === "legend" && value) return [key, { ...value, columns: undefined }];
      return [key, withoutColumns(value)];
    }));
  };

  // Hide labels that cover another label or a point.
  const unclutter = (holder) => {
    const boxes = (marks) => [...holder.querySelectorAll(marks)].map((one) => [one, one.getBoundingClientRect()]);
    const inked = ({ left, right, top, bottom, height }) => ({ left, right, top: top + height / 5, bottom: bottom - height / 5 });
    const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const taken = boxes(".mark-symbol.role-mark path").map(([, box]) => box);
    for (const [label, whole] of boxes(".mark-text.role-mark text")) {
      const box = inked(whole);
      if (taken.some((one) => over(one, box))) label.setAttribute("visibility", "hidden");
      else taken.push(box);
    }
  };

  const draw = async (holder) => {
    const width = Math.floor(holder.clientWidth);
    if (holder.dataset.width === String(width) || width === 0) return;
    holder.dataset.width = String(width);
    const options = {
      actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: tell,
      loader: { load: () => Promise.reject(new Error("this page loads nothing")) },
    };
    if (holder.view) holder.view.finalize();
    try {
      holder.view = (await vegaEmbed(holder, fitted(specs[holder.dataset.chart], width), options)).view;
      unclutter(holder);
    } catch (error) {
      holder.textContent = `This chart can't be drawn: ${error.message}`;
    }
  };

  const drawAll = async () => {
    for (const holder of document.querySelectorAll(".chart")) await draw(holder);
    document.body.dataset.drawn = "yes";
  };
  let pause;

  // All rows

  const PAGE = 100;
  class Column {
    constructor({ name, figures, places, words, codes, values, ...split }) {
      Object.assign(this, { name, figures, places, words, codes, values: split.digits === undefined ? values : Column.joined(split) });
    }
    // Figures of so many digits each, and a letter for the power of ten: 9999 is a missing figure, 5000 less a negative one.
    static joined({ digits, width, kinds, marks }) {
      const letters = new Map([..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"].map((letter, place) => [letter, marks[place]]));
      return Array.from(kinds, (letter, row) => {
        const power = letters.get(letter);
        if (power === 9999) return null;
        const whole = digits.slice(row * width, (row + 1) * width);
        return power < -2500 ? -Number(`${whole}e${power + 5000}`) : Number(`${whole}e${power}`);
      });
    }
    at(row) {
      if (this.values) return this.values[row];
      return this.codes[row] < 0 ? null : this.words[this.codes[row]];
    }
    // For each row: whether the word occurs in it.
    holds(word) {
      if (this.words) {
        const hits = this.words.map((one) => String(one).toLowerCase().includes(word));
        return (row) => this.codes[row] >= 0 && hits[this.codes[row]];
      }
      return (row) => this.values[row] !== null && String(this.values[row]).toLowerCase().includes(word);
    }
    // For each row: a number to sort by; missing values come last.
    ranks() {
      if (this.values && this.figures) return this.values;
      const words = this.words ?? this.values;
      const collator = new Intl.Collator("en", { numeric: true });
      const compared = this.figures ? (a, b) => words[a] - words[b] : (a, b) => collator.compare(words[a], words[b]);
      const rank = [];
      words.map((_, code) => code).sort(compared).forEach((code, place) => { rank[code] = place; });
      return this.codes ? this.codes.map((code) => (code < 0 ? null : rank[code])) : rank;
    }
  }

  class Rows {
    constructor({ count, columns }) {
      this.count = count;
      this.columns = columns.map((column) => new Column(column));
      this.origin = this.columns.find((column) => column.name === "origin");
      this.order = Array.from({ length: count }, (_, row) => row);
      this.shown = this.order;
      this.first = 0;
      this.sorted = { column: null, falling: false };
      this.chosen = new Map();
    }

    start() {
      const head = made("tr", "");
      this.columns.forEach((column) => {
        const cell = made("th", "", { scope: "col", ...(column.figures ? { class: "figures" } : {}) });
        const button = made("button", column.name, { type: "button" });
        button.addEventListener("click", () => this.sort(column));
        cell.append(button);
        head.append(cell);
        column.head = cell;
      });
      byId("all").tHead.replaceChildren(head);
      this.columns.filter((one) => one.words && one.words.length > 1 && one.words.length <= 24).forEach((column) => {
        const label = made("label", column.name);
        const select = document.createElement("select");
        select.dataset.column = column.name;
        select.append(made("option", "all", { value: "" }));
        const collator = new Intl.Collator("en", { numeric: true });
        column.words.map((word, code) => [String(word), code]).sort((one, other) => collator.compare(one[0], other[0]))
          .forEach(([word, code]) => select.append(made("option", word, { value: code })));
        select.addEventListener("change", () => {
          if (select.value === "") this.chosen.delete(column);
          else this.chosen.set(column, Number(select.value));
          this.filter();
        });
        label.append(select);
        byId("selects").append(label);
      });
      byId("columns").open = innerWidth > 700;
      byId("back").addEventListener("click", () => this.turn(-PAGE));
      byId("on").addEventListener("click", () => this.turn(PAGE));
      let wait;
      byId("words").addEventListener("input", () => {
        clearTimeout(wait);
        wait = setTimeout(() => this.filter(), 120);
      });
      const form = byId("filters");
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("reset", () => setTimeout(() => {
        this.chosen.clear();
        this.filter();
      }));
      this.filter();
    }

    filter() {
      const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = words.map((word) => this.columns.map((column) => column.holds(word)));
      const chosen = [...this.chosen];
      this.shown = this.order.filter((row) =>
        chosen.every(([column, code]) => column.codes[row] === code)
        && wanted.every((columns) => columns.some((holds) => holds(row))));
      this.first = 0;
      this.show();
    }

    sort(column) {
      const falling = this.sorted.column === column && !this.sorted.falling;
      if (this.sorted.column) this.sorted.column.head.removeAttribute("aria-sort");
      this.sorted = { column, falling };
      column.head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const ranks = column.ranks();
      const sign = falling ? -1 : 1;
      this.order.sort((one, other) => {
        const [a, b] = [ranks[one], ranks[other]];
        if (a === null || b === null) return (a === null) - (b === null) || one - other;
        return sign * (a - b) || one - other;
      });
      this.filter();
    }

    turn(by) {
      this.first = Math.max(0, Math.min(this.first + by, Math.floor(Math.max(0, this.shown.length - 1) / PAGE) * PAGE));
      this.show();
      byId("all").parentElement.scrollTop = 0;
    }

    show() {
      const page = this.shown.slice(this.first, this.first + PAGE);
      byId("all").tBodies[0].replaceChildren(...page.map((row) => this.line(row)));
      const of = this.count === this.shown.length ? "" : ` (of ${this.count.toLocaleString("en")})`;
      const range = page.length ? `${(this.first + 1).toLocaleString("en")} to ${(this.first + page.length).toLocaleString("en")} of ` : "";
      byId("count").textContent = `${range}${this.shown.length.toLocaleString("en")} rows${of}`;
      byId("count").dataset.shown = this.shown.length;
      byId("back").disabled = this.first === 0;
      byId("on").disabled = this.first + PAGE >= this.shown.length;
    }

    line(row) {
      const origin = this.origin ? this.origin.at(row) : "measured";
      const line = made("tr", "", ["published", "simulated"].includes(origin) ? { class: origin } : {});
      for (const column of this.columns) {
        const known = column.at(row);
        const value = column.places && known !== null ? known.toFixed(column.places) : known;
        const classes = value === null ? ["none"] : [];
        if (column.figures) classes.push("figures");
        if (column === this.origin) classes.push(origin);
        if (column.name === "status" && value !== "ok") classes.push("word");
        const long = String(value).length > 40;
        const cell = made("td", long ? "" : value ?? "", { "data-label": column.name, ...(classes.length ? { class: classes.join(" ") } : {}) });
        if (long) cell.append(made("div", value, { class: "long", tabindex: 0 }));
        line.append(cell);
      }
      return line;
    }
  }

  const startRows = async () => {
    try {
      new Rows(JSON.parse(await unpacked("data-rows"))).start();
    } catch (error) {
      byId("count").textContent = `This browser can't unpack the rows (${error.message}); rows.csv beside this page has them.`;
    }
    document.body.dataset.rows = "yes";
  };

  const startCharts = async () => {
    try {
      document.head.append(made("script", await unpacked("data-vega")));  // the policy has its hash
      await drawAll();
      addEventListener("resize", () => {
        clearTimeout(pause);
        pause = setTimeout(drawAll, 200);
      });
    } catch {
      // The pictures that the page came with stay.
    }
  };

  startRows().then(startCharts);
})();
