// What pages of Talkmeter do beyond links and forms. Every page works without this file: it puts
// instants into the viewer's zone, draws charts from tables, and keeps the live page current.
"use strict";

(() => {
  const LIVE_RETRY_MS = 1000;
  const LIVE_RETRY_MS_MAX = 30000;
  const COPIED_MS = 2000;
  const X_LABEL_PX = 72;
  const SERIES_COLOURS = 6;
  const AREA_ALPHA = "4d"; // the colours are #rrggbb
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // --- instants ---------------------------------------------------------------------------------

  const clock = {
    minutes: new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" }),
    seconds: new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }),
  };
  const viewerZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  /** Put every `<time data-local>` below `root` into the viewer's zone; its title stays in UTC. */
  function localTimes(root) {
    for (const time of root.querySelectorAll("time[data-local]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const text = clock[time.dataset.local === "seconds" ? "seconds" : "minutes"].format(at);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function saysZone() {
    for (const note of document.querySelectorAll("[data-zone-note]")) {
      note.textContent = `Times are in your zone, ${viewerZone}. Point at one for UTC.`;
    }
  }

  // --- charts: a figure draws the table that stands below it -------------------------------------

  const charts = new Map(); // figure → { plot, watch }

  /** Return `{ xs, labels, kind, series: [{ name, tone, dashed, values, exact }] }` of a table. */
  function readTable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const columns = heads.map((head, index) => ({ head, index })).filter(({ head, index }) => index && head.dataset.series);
    const series = columns.map(({ head, index }) => ({
      name: head.textContent.trim(),
      tone: head.dataset.tone || "",
      dashed: "dashed" in head.dataset,
      values: rows.map((row) => numberIn(row.cells[index])),
      exact: rows.map((row) => exactIn(row.cells[index])),
    }));
    return { ...readX(rows.map((row) => row.cells[0])), series };
  }

  function numberIn(cell) {
    const text = cell.querySelector("data[value]")?.value ?? cell.dataset.value ?? cell.textContent.replace(/[\s,$%]/g, "").replace("−", "-");
    return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
  }

  function exactIn(cell) {
    return cell.querySelector("[title]")?.title ?? cell.textContent.trim();
  }

  /** Days and months lie on a time axis of their own, instants on the viewer's, all else in order. */
  function readX(cells) {
    const texts = cells.map((cell) => cell.querySelector("time")?.dateTime ?? "");
    const labels = cells.map((cell) => cell.textContent.trim());
    const stamps = texts.map((text) => Date.parse(text) / 1000);
    if (!texts.length || stamps.some(Number.isNaN)) return { xs: cells.map((_, i) => i), labels, kind: "order" };
    const kind = { 7: "month", 10: "day" }[texts[0].length] ?? "instant";
    return { xs: stamps, labels, kind };
  }

  /** Return what is drawn for each series: its values, or their sums from the first series on. */
  function stacked(series, length) {
    const up = new Array(length).fill(0);
    const down = new Array(length).fill(0);
    return series.map(({ values }) => values.map((value, i) => {
      if (value === null) return null;
      const pile = value < 0 ? down : up;
      return (pile[i] += value);
    }));
  }

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const swatchOf = (one, index) => one.tone || `s${(index % SERIES_COLOURS) + 1}`;
  const colourOf = (swatch) => style(/^s\d$/.test(swatch) ? `--series-${swatch[1]}` : `--${swatch}${swatch === "ok" ? "" : "-mark"}`);

  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

  function inUnit(unit, value) {
    if (value === null || value === undefined) return "";
    const text = compact.format(Math.abs(value));
    const sign = value < 0 ? "-" : "";
    return { usd: `${sign}$${text}`, percent: `${sign}${text} %`, seconds: `${sign}${text} s` }[unit] ?? sign + text;
  }

  function xText(kind, stamp) {
    const options = {
      month: { month: "short", year: "numeric", timeZone: "UTC" },
      day: { day: "numeric", month: "short", timeZone: "UTC" },
      instant: { hour: "2-digit", minute: "2-digit" },
    }[kind];
    return new Intl.DateTimeFormat(kind === "month" ? "en-US" : "en-GB", options).format(stamp * 1000);
  }

  function axes(figure, data) {
    const font = `12px ${style("--sans")}`;
    const shared = { stroke: style("--quiet"), font, ticks: { show: false } };
    const every = (plot) => Math.max(1, Math.ceil((data.xs.length * X_LABEL_PX) / Math.max(plot.width, 1)));
    return [
      {
        ...shared,
        grid: { show: false },
        size: 28,
        splits: (plot) => data.xs.filter((_, i) => i % every(plot) === 0),
        values: (_, splits) => splits.map((x) => (data.kind === "order" ? data.labels[x] : xText(data.kind, x))),
      },
      {
        ...shared,
        grid: { stroke: style("--grid"), width: 1 },
        space: 44,
        values: (_, splits) => splits.map((value) => inUnit(figure.dataset.unit, value)),
        size: (_, values) => 14 + 7 * Math.max(2, ...(values ?? []).map((text) => text.length)),
      },
    ];
  }

  function seriesOptions(figure, data) {
    const kind = figure.dataset.chart;
    const bars = uPlot.paths.bars({ size: [0.62, 48] });
    return data.series.map((one, index) => {
      const colour = colourOf(swatchOf(one, index));
      if (kind === "bars") return { stroke: colour, fill: colour, width: 0, paths: bars, points: { show: false } };
      const line = { stroke: colour, width: 2, dash: one.dashed ? [6, 5] : undefined, points: { show: data.xs.length < 3 } };
      return kind === "area" ? { ...line, width: 1.5, fill: colour + AREA_ALPHA } : line;
    });
  }

  function xRange(kind, xs) {
    const step = xs.length > 1 ? Math.min(...xs.slice(1).map((x, i) => x - xs[i])) : 1;
    const pad = kind === "bars" || xs.length === 1 ? step / 2 : 0;
    return [xs[0] - pad, xs.at(-1) + pad];
  }

  function options(figure, data, box, onCursor) {
    const kind = figure.dataset.chart;
    const piled = kind !== "line";
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [10, 24, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: !piled, size: 7 } },
      scales: {
        x: { time: data.kind !== "order", range: () => xRange(kind, data.xs) },
        y: { range: (_, low, high) => [Math.min(0, low) * 1.08, Math.max(0, high) * 1.08 || 1] },
      },
      axes: axes(figure, data),
      // The last of a pile is painted first, so that the others stand in front of it.
      series: [{}, ...(piled ? seriesOptions(figure, data).reverse() : seriesOptions(figure, data))],
      bands: kind === "area" ? data.series.slice(1).map((_, i) => ({ series: [i + 1, i + 2] })) : [],
      hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
    };
  }

  function legendOf(figure, data) {
    const legend = document.createElement("ul");
    legend.className = "legend";
    const at = legend.appendChild(document.createElement("li"));
    at.className = "at";
    const values = data.series.map((one, index) => {
      const item = legend.appendChild(document.createElement("li"));
      const swatch = item.appendChild(document.createElement("span"));
      const shape = figure.dataset.chart !== "line" ? "" : one.dashed ? "line dashed" : "line";
      swatch.className = `swatch ${swatchOf(one, index)} ${shape}`;
      item.append(one.name, " ");
      return item.appendChild(document.createElement("b"));
    });
    const span = [...new Set([data.labels[0], data.labels.at(-1)])].join(" – ");
    return { legend, show(index) {
      at.textContent = index === null ? span : data.labels[index];
      values.forEach((value, i) => { value.textContent = index === null ? "" : data.series[i].exact[index]; });
    } };
  }

  function draw(figure) {
    const table = document.getElementById(figure.dataset.table);
    const box = figure.querySelector("[data-plot]");
    if (!table?.tBodies[0]?.rows.length || !window.uPlot) return;
    undraw(figure);
    const data = readTable(table);
    if (!data.series.length) return;
    box.hidden = false;
    const { legend, show } = legendOf(figure, data);
    const drawn = figure.dataset.chart === "line" ? data.series.map((one) => one.values) : stacked(data.series, data.xs.length).reverse();
    const plot = new uPlot(options(figure, data, box, (index) => show(index ?? null)), [data.xs, ...drawn], box);
    show(null);
    box.after(legend);
    const watch = new ResizeObserver(() => {
      if (box.clientWidth) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    });
    watch.observe(box);
    charts.set(figure, { plot, legend, watch, data });
  }

  function undraw(figure) {
    const chart = charts.get(figure);
    if (!chart) return;
    chart.watch.disconnect();
    chart.plot.destroy();
    chart.legend.remove();
    charts.delete(figure);
  }

  /** Arrow keys, Home and End walk along a chart; what stands there is said. */
  function walk(figure, key) {
    const chart = charts.get(figure);
    const last = chart ? chart.data.xs.length - 1 : -1;
    const now = chart?.plot.cursor.idx ?? null;
    const next = { ArrowRight: now === null ? 0 : now + 1, ArrowLeft: now === null ? last : now - 1, Home: 0, End: last }[key];
    if (next === undefined || last < 0) return false;
    const index = Math.min(Math.max(next, 0), last);
    chart.plot.setCursor({ left: chart.plot.valToPos(chart.data.xs[index], "x"), top: 0 });
    const said = chart.data.series.map((one) => `${one.name} ${one.exact[index] || "nothing"}`);
    figure.querySelector("[data-said]").textContent = `${chart.data.labels[index]}: ${said.join(", ")}`;
    return true;
  }

  function startCharts(root) {
    for (const figure of root.querySelectorAll("figure[data-chart]")) {
      if (charts.has(figure)) continue;
      draw(figure);
      if (!charts.has(figure)) continue;
      figure.querySelector("details")?.removeAttribute("open");
      figure.querySelector("[data-plot]").addEventListener("keydown", (event) => {
        if (walk(figure, event.key)) event.preventDefault();
      });
    }
    for (const figure of [...charts.keys()]) if (!figure.isConnected) undraw(figure);
  }

  // --- live: fragments that the server sends ------------------------------------------------------

  const LIVE_TEXT = {
    connecting: "Connecting…",
    live: "Live",
    lost: "Connection lost. The figures below are old; trying again…",
    paused: "Paused while this tab is hidden",
  };

  function live(section) {
    const region = section.querySelector("[data-live-region]");
    const state = section.querySelector("[data-live-state]");
    let source = null;
    let retryMs = LIVE_RETRY_MS;
    let timer = 0;
    let swapping = Promise.resolve();

    const say = (name) => {
      if (state.dataset.state === name) return;
      state.dataset.state = name;
      state.textContent = LIVE_TEXT[name];
    };
    const close = () => {
      clearTimeout(timer);
      source?.close();
      source = null;
    };
    const show = (html) => {
      const fragment = document.createElement("template");
      fragment.innerHTML = html;
      localTimes(fragment.content);
      // Morphed, not replaced: focus, an open dialog and what is typed in it stay.
      swapping = swapping.then(() => htmx.swap({ text: fragment.innerHTML, target: region, swap: "innerMorph", sourceElement: region }));
    };
    const open = () => {
      close();
      if (document.hidden) return say("paused");
      source = new EventSource(section.dataset.liveSource);
      source.onopen = () => { retryMs = LIVE_RETRY_MS; say("live"); };
      source.onmessage = (event) => { say("live"); show(event.data); };
      source.addEventListener("reload", () => location.reload());
      source.onerror = () => {
        say("lost");
        if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
        close();
        timer = setTimeout(open, retryMs);
        retryMs = Math.min(2 * retryMs, LIVE_RETRY_MS_MAX);
      };
    };
    say("connecting");
    document.addEventListener("visibilitychange", open);
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) open(); });
    open();
  }

  // --- forms, copying, keys -----------------------------------------------------------------------

  async function copy(button) {
    const from = document.querySelector(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(from.textContent.trim());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(from); // not allowed to: then it is ready for the keys
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, COPIED_MS);
  }

  /** A form that writes is sent once; its button says that it is at work. */
  function sendOnce(event) {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if ("sent" in form.dataset) return event.preventDefault();
    form.dataset.sent = "";
    event.submitter?.setAttribute("aria-busy", "true");
  }

  function sentNoMore() {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
    }
  }

  function toSearch(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const search = document.querySelector("main input[type=search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  }

  function notReached() {
    const place = document.querySelector("[data-flash]");
    if (!place) return;
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.textContent = "The server could not be reached, nothing was changed. Try again.";
    place.replaceChildren(notice);
  }

  function enhance(root) {
    localTimes(root);
    startCharts(root);
    for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("change", (event) => event.target.closest("form[data-autosubmit]")?.requestSubmit());
  document.addEventListener("submit", sendOnce);
  document.addEventListener("keydown", toSearch);
  document.addEventListener("htmx:after:swap", () => enhance(document));
  document.addEventListener("htmx:error", notReached);
  addEventListener("pageshow", sentNoMore);
  addEventListener("beforeprint", () => document.querySelectorAll("figure[data-chart] details").forEach((one) => { one.open = true; }));
  dark.addEventListener("change", () => [...charts.keys()].forEach(draw));

  saysZone();
  enhance(document);
  document.querySelectorAll("[data-live-source]").forEach(live);
})();
