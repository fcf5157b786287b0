// SPDX-License-Identifier: MIT OR Apache-2.0
// What there is to see on a page of measurements. Runs in the page, as an expression.
(() => {
  const FIGURE = "[data-path],[data-sum],[data-difference],[data-quotient]";
  for (const details of document.querySelectorAll("details")) details.open = true;
  // An element scrolled to its end shows what is wider than it.
  const wide = document.documentElement.clientWidth;

  const resolved = (element, path) => {
    if (path.startsWith("/")) return path;
    const base = element.closest("[data-base]");
    return base ? `${base.dataset.base}/${path}` : path;
  };
  const figures = [...document.querySelectorAll(FIGURE)].map((element) => {
    const { path, sum, difference, quotient } = element.dataset;
    const kind = path ? "path" : sum ? "sum" : difference ? "difference" : "quotient";
    return {
      kind,
      places: (path ? resolved(element, path) : sum ?? difference ?? quotient),
      value: element.getAttribute("value") ?? element.dataset.value ?? "",
      text: element.textContent,
    };
  });
  // Arrays of which only the first are shown.
  const cut = [...document.querySelectorAll("[data-rest]")].map((e) => e.dataset.rest);

  const told = `${FIGURE},[data-tick],[data-index],.n,.words,desc,title,style,script`;
  const seen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility === "visible";
  };
  const loose = [], faint = [], outside = [];
  const channels = (colour) => {
    const found = colour.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
    return found && { rgb: found.slice(1, 4).map(Number), alpha: Number(found[4] ?? 1) };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) =>
      c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backgrounds = new Map();
  const background = (element) => {
    if (!element) return [255, 255, 255];
    if (!backgrounds.has(element)) {
      const colour = channels(getComputedStyle(element).backgroundColor);
      const own = colour && colour.alpha === 1;
      backgrounds.set(element, own ? colour.rgb : background(element.parentElement));
    }
    return backgrounds.get(element);
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("desc,title,style,script")) continue;
    if (/\d/.test(node.data) && !element.closest(told)) loose.push(node.data.trim());
    if (!seen(element)) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const colour = channels(element instanceof SVGElement ? style.fill : style.color);
    if (!colour || colour.alpha !== 1) {
      faint.push(`${node.data.trim()}: a colour that is not one: ${style.color} ${style.fill}`);
      continue;
    }
    const [a, b] = [luminance(colour.rgb), luminance(background(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${node.data.trim()}: contrast ${contrast.toFixed(2)}`);
  }

  for (const element of document.body.querySelectorAll("*")) {
    if (element.parentElement.closest(".scroll,pre") || !seen(element)) continue;
    const { left, right } = element.getBoundingClientRect();
    if (left < -0.5 || right > wide + 0.5) {
      outside.push(`${element.tagName} from ${left} to ${right} of ${wide}`);
    }
  }
  if (document.documentElement.scrollWidth > wide) {
    outside.push(`the page is ${document.documentElement.scrollWidth} wide, the view ${wide}`);
  }

  // Words of a chart on top of one another, or numbers that its description does not have.
  const overlaps = [], unsaid = [];
  for (const chart of document.querySelectorAll("svg")) {
    const boxes = [...chart.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
    for (const [index, [text, a]] of boxes.entries()) {
      for (const [other, b] of boxes.slice(index + 1)) {
        const apart = a.right <= b.left || b.right <= a.left ||
          a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
        if (!apart) overlaps.push(`${text.textContent.trim()} and ${other.textContent.trim()}`);
      }
    }
    const described = chart.querySelector("desc")?.textContent ?? "";
    if (chart.getAttribute("role") !== "img" || !chart.querySelector("title")?.textContent) {
      unsaid.push("a chart without a name");
    }
    for (const figure of chart.querySelectorAll(FIGURE)) {
      if (!described.includes(figure.textContent)) unsaid.push(figure.textContent);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  const uncaptioned = [...document.querySelectorAll("table")].filter((t) => !t.caption).length;

  return {
    title: document.title, texts, scripts: document.scripts.length, figures, cut, loose, faint,
    outside, overlaps, unsaid, twice, uncaptioned,
    charts: document.querySelectorAll("svg").length,
  };
})()
