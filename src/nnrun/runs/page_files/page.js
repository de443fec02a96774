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

  // As many names side by side as there is place for.
  const fitted = (spec, width) => {
    const columns = Math.max(1, Math.floor(width / (spec.usermeta.legend_entry || 120)));
    // On a phone, names leave the width to what is drawn.
    const labelLimit = width < 420 ? 64 : config.axis.labelLimit;
    return { ...config, axis: { ...config.axis, labelLimit }, legend: { ...config.legend, columns } };
  };

  const draw = async (spec, number) => {
    const place = document.getElementById(`chart-${number}`);
    try {
      await vegaEmbed(place, spec, {
        mode: "vega-lite", actions: false, renderer: "svg", ast: true, tooltip: showTip,
        config: fitted(spec, place.clientWidth), defaultStyle: false,
      });
      place.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  };
  for (const [number, spec] of specs.entries()) await draw(spec, number);
  document.documentElement.dataset.drawn = "all";

  // On paper, what is folded is open, and the charts have the width of the paper.
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details:not([open])")) {
      folded.open = true;
      addEventListener("afterprint", () => { folded.open = false; }, { once: true });
    }
  });
  addEventListener("scroll", () => tip.classList.remove("shown"), { passive: true });
})();
