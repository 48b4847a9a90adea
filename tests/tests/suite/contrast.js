// Texts that are seen: how many, and those whose contrast with what is behind them is less than 4.5, as WCAG 2 computes it.
(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parts(color).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const drawn = (element) => element.namespaceURI.endsWith("svg");
  const behind = (element) => {
    // Only the lines of a box stand on something that is drawn.
    if (drawn(element) && element.matches(".name, .role")) return getComputedStyle(element.parentElement.querySelector(".box")).fill;
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  let seen = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.getClientRects().length || element.closest("title, desc")) continue;
    const style = getComputedStyle(element);
    const [color, ground] = [drawn(element) ? style.fill : style.color, behind(element)];
    const [more, less] = [luminance(color), luminance(ground)].sort((a, b) => b - a);
    const ratio = (more + 0.05) / (less + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.push(`${text}: ${ratio.toFixed(2)}, ${color} on ${ground}`);
  }
  return { seen, poor };
})();
