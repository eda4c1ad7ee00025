"""Colours, fonts and spacing of the page. All fonts are those of the visitor's system."""

FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")
LABELS = {
    "block_title_background_fill": "none",
    "block_title_padding": "0",
    "block_title_text_color": "*body_text_color",
    "block_title_text_weight": "600",
    "block_label_background_fill": "none",
    "block_label_text_color": "*body_text_color",
    "block_label_text_weight": "600",
    "block_label_border_width": "0",
    "block_label_shadow": "none",
}
LABELS |= {f"{name}_dark": value for name, value in LABELS.items() if name.endswith(("fill", "color", "border_width"))}
# In the light theme all of these were white on white; the dark one has its own.
SURFACES = {
    "body_background_fill": "*neutral_100",
    "button_secondary_background_fill": "*neutral_200",
    "button_secondary_background_fill_hover": "*neutral_300",
    "checkbox_border_color": "*neutral_400",
    "checkbox_label_background_fill": "*neutral_100",
    "input_border_color": "*neutral_300",
    "input_border_width": "1px",
}

CSS = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
.gradio-container .html-container { padding: 0 !important; }
footer { display: none !important; }
.dark input[type=range] { --neutral-200: var(--neutral-600); }
.gradio-container input[type=range]::-webkit-slider-thumb { border: 1px solid var(--neutral-400); }
.gradio-container input[type=range]::-moz-range-thumb { border: 1px solid var(--neutral-400); }
.masthead { display: flex; align-items: baseline; gap: 14px; flex-wrap: wrap; padding: 10px 2px 2px; }
.masthead h1 { font-size: 1.5rem; font-weight: 650; letter-spacing: -0.02em; margin: 0; }
.masthead p { margin: 0; color: var(--body-text-color-subdued); font-size: .92rem; }
.stage { min-height: 420px; }
.empty { display: grid; place-items: center; min-height: 420px; border: 1px dashed var(--border-color-primary);
  border-radius: 14px; color: var(--body-text-color-subdued); text-align: center; padding: 24px; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.figures figure { margin: 0; }
.figures img { width: 100%; display: block; border-radius: 14px; image-rendering: auto;
  background: var(--background-fill-secondary); }
.figures figcaption { padding: 8px 2px 0; font-size: .9rem; color: var(--body-text-color-subdued); }
.compare { position: relative; --at: 50%; border-radius: 14px; overflow: hidden; touch-action: pan-y;
  background: var(--background-fill-secondary); width: min(100%, calc(76vh * var(--ratio))); }
.compare img { display: block; width: 100%; aspect-ratio: var(--ratio); }
.compare img.after { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)); }
.compare i { position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 0 1px rgba(0,0,0,.25); pointer-events: none; }
.compare i::after { content: ""; position: absolute; top: 50%; left: 50%; width: 30px; height: 30px; margin: -15px;
  border-radius: 50%; background: #fff; box-shadow: 0 1px 6px rgba(0,0,0,.35);
  background-image: linear-gradient(90deg, transparent 11px, #475569 11px 13px, transparent 13px 17px,
  #475569 17px 19px, transparent 19px); background-size: 100% 12px; background-position: 0 9px;
  background-repeat: no-repeat; }
.compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.compare:focus-within { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.tag { position: absolute; bottom: 12px; padding: 3px 10px; border-radius: 99px; background: rgba(15,23,42,.66);
  color: #fff; font-size: .8rem; pointer-events: none; }
.tag.left { left: 12px; } .tag.right { right: 12px; }
.frames { position: relative; border-radius: 10px; overflow: hidden; }
.frames img { display: block; width: 100%; }
.frames svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.frames rect { fill: none; stroke: #fff; stroke-width: 2px; vector-effect: non-scaling-stroke;
  filter: drop-shadow(0 0 1px rgba(0,0,0,.8)); }
.frames circle { fill: #334155; } .frames text { fill: #fff; text-anchor: middle; dominant-baseline: central;
  font-weight: 650; }
.frames .chosen rect { stroke: #38bdf8; } .frames .chosen circle { fill: #0284c7; } .frames .other { opacity: .65; }
a.download { display: inline-flex; align-items: baseline; gap: 10px; margin-top: 14px; padding: 9px 18px;
  border-radius: 10px; background: var(--button-primary-background-fill); color: var(--button-primary-text-color);
  font-weight: 600; text-decoration: none; }
a.download:hover { background: var(--button-primary-background-fill-hover); }
a.download small { font-weight: 400; opacity: .85; color: inherit; }
.note { margin: 8px 0 0; padding: 9px 12px; border-radius: 10px; font-size: .88rem; line-height: 1.4;
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); }
.limits { margin: -6px 2px 0; font-size: .8rem; color: var(--body-text-color-subdued); }
[id^="colour-"] button { min-height: 38px; border: 1px solid var(--border-color-primary); border-radius: 8px; }
button.example { min-width: 0 !important; height: 84px; padding: 0 !important; align-items: flex-end !important;
  background-size: cover !important; background-position: center !important; border-radius: 10px !important;
  overflow: hidden; color: #fff !important; font-size: .72rem !important; font-weight: 600 !important;
  text-shadow: 0 1px 3px #000, 0 0 2px #000; line-height: 1.9 !important; }
"""
