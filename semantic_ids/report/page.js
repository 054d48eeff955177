"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { names, levels, tree, map, items } = data;
  const LISTED = 20, NEIGHBOURS = 10;

  // Plots. Grey, accent and hues of middling lightness read on both light and dark paper.
  const GREY = "rgba(128,136,144,.35)", DARK = "#808890", ACCENT = "#2f86a6";
  const hue = (code, alpha) => `hsla(${Math.round((code * 137.508) % 360)},45%,52%,${alpha})`;
  const count = (n) => n.toLocaleString("en");
  const plural = (n) => `${count(n)} ${n === 1 ? "item" : "items"}`;
  const token = (level, code) => `<${names[level]}_${code}>`;
  // Plotly reads some HTML in its texts, but titles are plain text.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // Plotly breaks no lines by itself: a line ends after the word that makes it long.
  const folded = (text) => plain(text).replace(/(.{16,}?)\s+/g, "$1<br>");

  const coarse = matchMedia("(pointer: coarse)").matches;
  const shared = {
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 8, t: 8, b: 64 },
    legend: { orientation: "h", x: 0, y: -0.28, yanchor: "top" },
    hoverlabel: { align: "left" },
    dragmode: false,
  };
  function axis(title, more) {
    return { title: { text: title, standoff: 8, font: { size: 13 } }, automargin: true, fixedrange: true, zeroline: false, ...more };
  }
  function draw(name, traces, layout, config) {
    const place = document.getElementById(name);
    if (!place) return null;
    Plotly.newPlot(place, traces, { ...shared, ...layout }, {
      responsive: true, displaylogo: false, displayModeBar: false, ...config,
    });
    return place;
  }

  const letters = names.slice(0, levels.size.length);
  const category = (title) => axis(title, { type: "category", showgrid: false });
  const bars = (name, y, color) => ({ type: "bar", name, x: letters, y, marker: { color }, hovertemplate: "%{y:,.4~g}" });
  draw("use", [
    bars("in the codebook", levels.size, GREY), bars("in use", levels.used, DARK),
    bars("in effect", levels.perplexity, ACCENT),
  ], { xaxis: category("level"), yaxis: axis("codes", { rangemode: "tozero" }), bargap: 0.3, hovermode: "x unified" });

  const line = (name, x, y, color, dash) => ({
    type: "scatter", mode: "lines+markers", name, x, y, hovertemplate: "%{y:.3f}",
    line: { color, width: 2, dash }, marker: { color, size: 7 },
  });
  draw("entropy", [
    line("ceiling, ln(codes)", letters, levels.size.map(Math.log), "rgba(128,136,144,.6)", "dot"),
    line("entropy", letters, levels.entropy, DARK),
    line("given the codes before", letters, levels.conditional, ACCENT),
  ], { xaxis: category("level"), yaxis: axis("nats", { rangemode: "tozero" }), hovermode: "x unified" });

  const DASHES = ["dash", "dot", "dashdot", "longdash", "longdashdot"];
  draw("errors", Object.entries(levels.errors).map(([name, y], i) =>
    line(plain(name), letters, y, i ? DARK : ACCENT, i ? DASHES[(i - 1) % DASHES.length] : "solid")),
  { xaxis: category("up to level"), yaxis: axis("relative error", { rangemode: "tozero" }), showlegend: true, hovermode: "x unified" });

  const columns = (name, y, color) => ({
    type: "bar", name, x: data.shared.names, y, marker: { color }, text: y.map((n) => n ? count(n) : ""),
    textposition: "outside", cliponaxis: false, hovertemplate: "%{y:,} items",
  });
  draw("shared", [
    columns("before the resolver", data.shared.before, ACCENT), columns("after", data.shared.after, GREY),
  ], { xaxis: category("items with the same code"), yaxis: axis("items", { rangemode: "tozero" }), bargap: 0.35, margin: { ...shared.margin, t: 24 } });

  // The tree: a prefix of one item stands for the item.
  const firstCodes = [], prefixes = [];
  tree.codes.forEach((code, i) => {
    const parent = tree.parents[i];
    firstCodes.push(parent < 0 ? code : firstCodes[parent]);
    prefixes.push((parent < 0 ? "" : prefixes[parent]) + token(tree.depths[i] - 1, code));
  });
  const theme = (i) => tree.items[i] === 1 ? tree.titles[i] : tree.words[i] || `such as ${tree.titles[i]}`;
  const treemap = draw("treemap", [{
    type: "treemap", branchvalues: "total", maxdepth: 2, tiling: { pad: 2 },
    ids: ["root", ...tree.codes.map((_, i) => String(i))],
    parents: ["", ...tree.parents.map((parent) => parent < 0 ? "root" : String(parent))],
    labels: ["all items", ...tree.codes.map((code, i) =>
      tree.items[i] === 1 ? folded(tree.titles[i]) : plain(token(tree.depths[i] - 1, code)))],
    values: [data.total, ...tree.items],
    text: ["", ...tree.codes.map((_, i) => folded(tree.items[i] === 1 ? prefixes[i] : theme(i)))],
    customdata: ["", ...prefixes.map(plain)],
    texttemplate: "%{label}<br>%{text}",
    hovertemplate: "%{customdata}<br>items: %{value:,}<br>%{text}<extra></extra>",
    marker: {
      colors: ["rgba(0,0,0,0)", ...firstCodes.map((code, i) => hue(code, 0.16 + 0.08 * Math.min(tree.depths[i], 4)))],
      line: { width: 1 }, pad: { t: 20, l: 2, r: 2, b: 2 },
    },
    textfont: { size: 13 }, pathbar: { thickness: 24 }, root: { color: "rgba(0,0,0,0)" },
  }], { margin: { l: 0, r: 0, t: 28, b: 0 } });

  // The map.
  if (map) {
    const label = (i) => {
      const item = map.item[i];
      return item < 0 ? plain(token(0, map.first[i])) : `${plain(titleOf(item))}<br>${plain(codeOf(item))}`;
    };
    const scatter = draw("scatter", [{
      type: "scatter", mode: "markers", x: map.x, y: map.y, text: map.x.map((_, i) => label(i)),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: 6, color: map.first.map((code) => hue(code, 1)), opacity: 0.75, line: { width: 0 } },
    }], {
      xaxis: axis(map.axes[0], { fixedrange: coarse }), yaxis: axis(map.axes[1], { fixedrange: coarse }),
      margin: { l: 48, r: 8, t: 8, b: 48 }, dragmode: coarse ? false : "zoom", hovermode: "closest", showlegend: false,
    }, { displayModeBar: !coarse, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] });
    scatter.on("plotly_click", ({ points }) => {
      const item = map.item[points[0].pointIndex];
      if (item >= 0) { show(item); document.getElementById("items").scrollIntoView(); }
    });
    const highlight = document.getElementById("highlight");
    const drawn = new Set(map.first);
    tree.depths.forEach((depth, i) => {
      if (depth !== 1 || !drawn.has(tree.codes[i])) return;
      const theme = tree.words[i] ? ` · ${tree.words[i]}` : "";
      highlight.append(new Option(`${prefixes[i]} · ${plural(tree.items[i])}${theme}`, tree.codes[i]));
    });
    highlight.addEventListener("change", () => {
      const chosen = highlight.value;
      const lit = map.first.map((code) => chosen === "" || code === Number(chosen));
      Plotly.restyle(scatter, {
        "marker.opacity": [lit.map((on) => on ? (chosen ? 0.95 : 0.75) : 0.08)],
        "marker.size": [lit.map((on) => on && chosen ? 8 : 6)],
      });
    });
  }

  // Print scales drawings, which page.css asks for, only where it knows their own size.
  addEventListener("beforeprint", () => {
    for (const svg of document.querySelectorAll(".plot .main-svg")) {
      svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
    }
  });
  addEventListener("afterprint", () => {
    for (const svg of document.querySelectorAll(".plot .main-svg")) svg.removeAttribute("viewBox");
  });

  // The items, all text set as text.
  function titleOf(i) { return (items.titles && items.titles[i]) || items.ids[i]; }
  function codeOf(i) { return items.codes.map((column, level) => token(level, column[i])).join(""); }
  function element(tag, more, ...children) {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...children);
    return made;
  }
  function button(i) {
    return element("button", { type: "button", onclick: () => show(i) }, titleOf(i));
  }
  function rows(table, head, lines) {
    const cell = (tag, content) => element(tag, {}, content);
    table.className = "text";
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...head.map((title) => cell("th", title)))),
      element("tbody", {}, ...lines.map(([first, ...rest]) =>
        element("tr", {}, cell("th", first), ...rest.map((content) => cell("td", content))))),
    );
    return table;
  }
  const code = (text) => element("span", { className: "code" }, text);

  function shares(i, j) {
    let prefix = 0, agreeing = 0;
    items.codes.forEach((column, level) => {
      const same = column[i] === column[j];
      if (same && prefix === level) prefix += 1;
      agreeing += same;
    });
    return data.ordered ? [prefix, agreeing] : [agreeing, prefix];
  }
  function nearest(i) {
    return items.ids.map((_, j) => [j, ...shares(i, j)]).filter(([j, most]) => j !== i && most > 0)
      .sort((a, b) => b[1] - a[1] || b[2] - a[2] || Math.abs(a[0] - i) - Math.abs(b[0] - i) || a[0] - b[0])
      .slice(0, NEIGHBOURS);
  }
  function show(i) {
    const moved = items.moved[i];
    const content = moved
      ? element("p", {}, "Content code ", code(moved.map((c, level) => token(level, c)).join("")), ", moved by the resolver")
      : element("p", {}, "Its content code is the same.");
    let prefix = "";
    const under = rows(element("table"), ["Prefix", "Items under it"], items.codes.map((column, level) => {
      prefix += token(level, column[i]);
      return [code(prefix), count(items.under[level][i])];
    }));
    const near = nearest(i).map(([j, most]) => [button(j), code(items.ids[j]), code(codeOf(j)), String(most)]);
    const table = rows(element("table"), ["Item", "Id", "Unique code", data.ordered ? "Prefix shared" : "Codes shared"], near);
    document.getElementById("item").replaceChildren(
      element("h3", {}, titleOf(i)),
      element("p", {}, "Id ", code(items.ids[i]), " · unique code ", code(codeOf(i))), content,
      element("div", { className: "scroll" }, under),
      near.length ? element("div", { className: "scroll" }, table)
        : element("p", {}, "No other item on this page shares a code with it."),
    );
    document.getElementById("item").scrollIntoView({ block: "nearest" });
  }

  const haystack = items.ids.map((id, i) => `${id} ${items.titles ? items.titles[i] : ""}`.toLowerCase());
  function search() {
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    haystack.forEach((text, i) => { if (words.every((word) => text.includes(word))) found.push(i); });
    const listed = found.slice(0, LISTED);
    document.getElementById("matches").textContent =
      `${plural(found.length)}${found.length > LISTED ? `, the first ${LISTED} in code order` : ""}`;
    rows(document.getElementById("found"), ["Item", "Id", "Unique code"],
      listed.map((i) => [button(i), code(items.ids[i]), code(codeOf(i))]));
  }
  document.getElementById("search").addEventListener("input", search);
  if (items.ids.length < data.total) {
    document.getElementById("sampled").textContent =
      `This page holds ${count(items.ids.length)} of ${count(data.total)} items, drawn at random in runs of neighbours; counts are those of all.`;
  }
  search();
  if (treemap) {
    const place = new Map(items.ids.map((_, i) => [codeOf(i), i]));
    treemap.on("plotly_treemapclick", ({ points }) => {
      const i = Number(points[0].id);
      if (points[0].id === "root" || tree.items[i] !== 1) return;
      for (const [text, item] of place) if (text.startsWith(prefixes[i])) { show(item); break; }
    });
  }
})();
