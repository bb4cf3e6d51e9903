"use strict";
// Draws the curves, and gives them the colours of the page, which follow the browser's light or dark mode.
(function () {
  const item = JSON.parse(document.getElementById("plot-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40em)");
  const coarse = window.matchMedia("(pointer: coarse)");
  let printing = false;

  function figures() {
    const found = [];
    for (const doc of Bokeh.documents) {
      for (const model of doc.all_models) {
        if (model.type === "Figure" || model.type === "Plot") {
          found.push(model);
        }
      }
    }
    return found;
  }

  function paint() {
    const night = dark.matches && !printing;
    const text = night ? "#e5e7eb" : "#1f2937";
    const grid = night ? "#374151" : "#e5e7eb";
    const back = night ? "#111827" : "#ffffff";
    for (const plot of figures()) {
      plot.setv({ outline_line_color: grid });
      if (plot.title) {
        plot.title.setv({ text_color: text, text_font_size: "15px" });
      }
      for (const part of [...plot.left, ...plot.below, ...plot.above, ...plot.right, ...plot.center]) {
        if (part.type.endsWith("Axis")) {
          part.setv({
            axis_label_text_color: text, major_label_text_color: text, axis_line_color: grid,
            major_tick_line_color: grid, minor_tick_line_color: null, axis_label_text_font_style: "normal",
            axis_label_text_font_size: "12px", major_label_text_font_size: narrow.matches ? "10px" : "12px",
          });
        } else if (part.type === "Grid") {
          part.setv({ grid_line_color: grid });
        } else if (part.type === "Legend") {
          part.setv({
            label_text_color: text, background_fill_alpha: 0, border_line_color: null, padding: 4,
            inactive_fill_color: back, inactive_fill_alpha: 0.7, label_text_font_size: narrow.matches ? "11px" : "12px",
          });
        }
      }
    }
  }

  function gestures() {
    // On a touch screen a finger that scrolls the page must not zoom a curve; the toolbar turns zooming on.
    if (!coarse.matches) {
      return;
    }
    for (const plot of figures()) {
      for (const tool of plot.toolbar.tools) {
        if ([tool.event_type].flat().includes("pan")) {
          tool.active = false;
        }
      }
    }
  }

  Bokeh.embed.embed_item(item).then(function () {
    paint();
    gestures();
    dark.addEventListener("change", paint);
    narrow.addEventListener("change", paint);
    window.addEventListener("beforeprint", function () { printing = true; paint(); });
    window.addEventListener("afterprint", function () { printing = false; paint(); });
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
})();
