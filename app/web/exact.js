/** JSON that keeps whole numbers of any length: those of JavaScript are exact up to 2⁵³, a BigInt is always. */
export function toJson(value) {
  let mark = null;
  const written = JSON.stringify(value, (_, one) => {
    if (typeof one !== "bigint") return one;
    mark ??= crypto.getRandomValues(new Uint32Array(4)).join("-"); // nobody can have typed it
    return `${mark}:${one}`;
  });
  return mark === null ? written : written.replaceAll(new RegExp(`"${mark}:(-?\\d+)"`, "g"), "$1");
}
