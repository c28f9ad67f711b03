"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const facts = new Map(Object.entries(data.facts));
  const rows = (name) => data.datasets[name].map((row) => ({ ...facts.get(row.name), ...row }));
  const datasets = (part) => {
    const own = part.data?.name ? { [part.data.name]: rows(part.data.name) } : {};
    return Object.assign(own, ...(part.layer ?? []).map(datasets));
  };
  const themed = (plain) => {
    const spec = { ...plain, datasets: datasets(plain) };
    if (!dark.matches) return spec;
    let text = JSON.stringify(spec);
    data.palette.light.forEach((colour, i) => {
      text = text.replaceAll(`"${colour}"`, `"${data.palette.dark[i]}"`);
    });
    return JSON.parse(text);
  };

  const views = new Map();
  const draw = async (figure) => {
    const chart = data.charts[figure.dataset.chart];
    const live = figure.querySelector(".live");
    if (!chart || !live) return;
    const padding = parseFloat(getComputedStyle(figure).paddingLeft) * 2;
    const size = figure.clientWidth - padding >= data.width ? "wide" : "narrow";
    const look = dark.matches ? "dark" : "light";
    if (views.get(figure)?.key === size + look) return;
    views.get(figure)?.view?.finalize();
    views.set(figure, { key: size + look });
    try {
      const drawn = await vegaEmbed(live, themed(chart[size]), {
        mode: "vega-lite",
        renderer: "svg",
        ast: true,
        config: data.config[look],
        tooltip: { theme: look },
        downloadFileName: figure.dataset.chart,
        actions: { export: true, source: false, compiled: false, editor: false },
      });
      views.set(figure, { key: size + look, view: drawn });
      figure.classList.add("is-live");
    } catch (error) {
      figure.classList.remove("is-live");
      live.textContent = "";
      console.error(error);
    }
  };

  const drawAll = () => document.querySelectorAll("figure[data-chart]").forEach(draw);
  if (typeof vegaEmbed !== "undefined") {
    drawAll();
    dark.addEventListener("change", drawAll);
    let waiting;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(drawAll, 150);
    });
  }

  const order = (row, column) => {
    const raw = row.cells[column].dataset.order;
    if (raw === undefined || raw === "") return null;
    return Number.isNaN(Number(raw)) ? raw : Number(raw);
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b));
  };
  document.querySelectorAll("table.figures").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.title = "sort";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => compare(order(a, column), order(b, column), up ? 1 : -1));
        table.tBodies[0].append(...rows);
      });
    });
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((item) => (item.open = true));
  });
})();
