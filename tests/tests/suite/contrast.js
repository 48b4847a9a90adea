// Returns the number of visible texts, and the texts whose contrast with their background is below
// 4.5 according to WCAG 2.
(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parts(color).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isSvg = (element) => element.namespaceURI.endsWith("svg");
  const background = (element) => {
    // In the diagram only the texts of a box have a drawn background.
    if (isSvg(element) && element.matches(".name, .role")) {
      return getComputedStyle(element.parentElement.querySelector(".box")).fill;
    }
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const lowContrast = [];
  let count = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.getClientRects().length || element.closest("title, desc")) continue;
    const style = getComputedStyle(element);
    const [color, ground] = [isSvg(element) ? style.fill : style.color, background(element)];
    const [lighter, darker] = [luminance(color), luminance(ground)].sort((a, b) => b - a);
    const ratio = (lighter + 0.05) / (darker + 0.05);
    count += 1;
    if (ratio < 4.5) lowContrast.push(`${text}: ${ratio.toFixed(2)}, ${color} on ${ground}`);
  }
  return { count, lowContrast };
})();
