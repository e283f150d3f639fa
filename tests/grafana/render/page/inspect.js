// What a reader sees, read back from the page.

export const linesOf = (element) =>
  element.innerText.split('\n').map((line) => line.trim()).filter(Boolean);

// Coloured points of all drawings: grids, axes and texts are grey, data is not.
export function ink(element) {
  let found = 0;
  for (const canvas of element.querySelectorAll('canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      const colors = [data[at], data[at + 1], data[at + 2]];
      if (data[at + 3] > 64 && Math.max(...colors) - Math.min(...colors) > 48) found += 1;
    }
  }
  const shapes = [...element.querySelectorAll('[data-ink]')];
  return found + shapes.reduce((sum, shape) => sum + Number(shape.dataset.ink), 0);
}

// Texts that are wider than their place.
export function cut(element) {
  const own = (node) => [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
  const short = [...element.querySelectorAll('*')].filter((node) => {
    if (!(node instanceof HTMLElement) || !own(node)) return false;
    const { overflowX } = getComputedStyle(node);
    return overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1;
  });
  return [...new Set(short.map((node) => node.innerText.trim()))];
}

export const linksOf = (element) =>
  [...element.querySelectorAll('a[href]')].map((a) => ({
    text: a.innerText.trim() || a.title,
    to: a.getAttribute('href'),
  }));

export const rowsOf = (element) =>
  [...element.querySelectorAll('[role=row], tr')]
    .map((row) => [...row.querySelectorAll('[role=gridcell], [role=columnheader], td, th')])
    .map((cells) => cells.map((cell) => cell.innerText.trim()))
    .filter((cells) => cells.length);

export async function settled() {
  await document.fonts.ready;
  for (let turn = 0; turn < 3; turn += 1) await new Promise(requestAnimationFrame);
  await new Promise((resolve) => setTimeout(resolve, 300));
}
