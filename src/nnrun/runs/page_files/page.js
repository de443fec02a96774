"use strict";
// Draws the charts of the page. Colors are CSS variables, so that dark mode and print need no redrawing.
(async () => {
  const { config, specs } = JSON.parse(document.getElementById("charts").textContent);

  // Names and values come from files: they are set as text, never as HTML.
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  const showTip = (_, event, __, value) => {
    if (value === null || value === undefined || value === "") {
      tip.classList.remove("shown");
      return;
    }
    tip.replaceChildren();
    for (const [name, text] of Object.entries(value)) {
      if (["null", "undefined", "NaN", ""].includes(String(text))) continue;
      const row = tip.appendChild(document.createElement("div"));
      for (const part of [name, text]) row.appendChild(document.createElement("span")).textContent = part;
    }
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 14 + width > innerWidth - 8 ? event.clientX - 14 - width : event.clientX + 14;
    const top = event.clientY + 14 + height > innerHeight - 8 ? event.clientY - 14 - height : event.clientY + 14;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
    tip.classList.add("shown");
  };

  // As many names side by side as there is room for; on a phone, names leave the width to what is drawn.
  const fitted = (spec, width) => ({
    columns: Math.max(1, Math.floor((width - 40) / (spec.usermeta.legend_entry || 120))),
    labelLimit: width < 420 ? 64 : config.axis.labelLimit,
    nameLimit: Math.min(config.legend.labelLimit, Math.max(120, width - 90)),
  });
  const placed = new Map();

  const draw = async (spec, number) => {
    const place = document.getElementById(`chart-${number}`);
    const { columns, labelLimit, nameLimit } = fitted(spec, place.clientWidth);
    try {
      placed.get(number)?.result?.finalize();
      placed.set(number, { columns, labelLimit, nameLimit });
      const own = { axis: { ...config.axis, labelLimit }, legend: { ...config.legend, columns, labelLimit: nameLimit } };
      const result = await vegaEmbed(place, spec, {
        mode: "vega-lite", actions: false, renderer: "svg", ast: true, tooltip: showTip, defaultStyle: false,
        config: { ...config, ...own },
      });
      placed.set(number, { columns, labelLimit, nameLimit, result });
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  };
  for (const [number, spec] of specs.entries()) await draw(spec, number);
  document.documentElement.dataset.drawn = "all";

  // Vega follows the width of the window, but for the columns of a legend.
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      for (const [number, spec] of specs.entries()) {
        const now = fitted(spec, document.getElementById(`chart-${number}`).clientWidth);
        const then = placed.get(number);
        if (Object.keys(now).some((key) => now[key] !== then[key])) await draw(spec, number);
      }
    }, 200);
  });

  // On paper, what is folded is open.
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details:not([open])")) {
      folded.open = true;
      addEventListener("afterprint", () => { folded.open = false; }, { once: true });
    }
  });
  addEventListener("scroll", () => tip.classList.remove("shown"), { passive: true });
})();
