/** While parts of the page are drawn anew, the focus stays on the same control of the same part. */

/**
 * `draw()` replaces the children of `list`; each says in `data-of` what it stands for. `controls`: the classes of what
 * can have the focus inside one. A part that is gone leaves the focus to its neighbour, and the last one to `otherwise()`.
 */
export function keepFocus(list, controls, draw, otherwise) {
  const focused = document.activeElement;
  const before = [...list.children];
  const at = before.findIndex((part) => part.contains(focused));
  const control = controls.find((name) => focused.classList.contains(name)) ?? controls[0];
  draw();
  if (at < 0) return;
  const parts = [...list.children];
  const part = parts.find((one) => one.dataset.of === before[at].dataset.of) ?? parts[Math.min(at, parts.length - 1)];
  if (part) (part.querySelector(`.${control}`) ?? part.querySelector(`.${controls[0]}`)).focus();
  else otherwise();
}
