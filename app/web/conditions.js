/**
 * Conditions on attributes as a person types them, and as the API has them:
 *   year >= 2019 · licence = cc-by, cc0 · licence != unknown · place.country = "12" · author exists
 * A value in quotes is text, also where it looks like a number or holds a comma. "title = god exists" compares.
 */

const COMPARED = /^\s*(.+?)\s*(>=|<=|!=|=|>|<)\s*(.+?)\s*$/u;
const EXISTS = /^\s*(.+?)\s+exists\s*$/iu;
/** Each of the values that commas part; a comma in quotes parts none. */
const VALUE = /\s*(?:"[^"]*"(?=\s*(?:,|$))|[^,]+)/gu;
const WHOLE = /^-?\d+$/;
const BOUNDS = { ">=": "gte", ">": "gt", "<=": "lte", "<": "lt" };

/** {written, list: "must" | "must_not", condition}; null for what is no condition. */
export function conditionOf(text) {
  const found = COMPARED.exec(text);
  if (!found) {
    const exists = EXISTS.exec(text);
    return exists && { written: `${exists[1]} exists`, list: "must", condition: { key: exists[1], exists: true } };
  }
  const [, key, operator, value] = found;
  const written = `${key} ${operator} ${value}`;
  const bound = BOUNDS[operator];
  if (bound) return { written, list: "must", condition: { key, range: { [bound]: scalar(value) } } };
  const values = (value.match(VALUE) ?? []).map((one) => one.trim()).filter(Boolean);
  if (!values.length) return null;
  const condition = values.length > 1 ? { key, any: values.map(scalar) } : { key, match: scalar(values[0]) };
  return { written, list: operator === "=" ? "must" : "must_not", condition };
}

function scalar(written) {
  if (written.length > 1 && written.startsWith('"') && written.endsWith('"')) return written.slice(1, -1);
  if (written === "true" || written === "false") return written === "true";
  const number = Number(written);
  if (WHOLE.test(written) && Number.isFinite(number) && !Number.isSafeInteger(number)) return BigInt(written);
  return Number.isFinite(number) ? number : written;
}

/** The API's filter for a query's strict tags and conditions; null where it has none. */
export function filterOf({ tags, where }) {
  const filter = { must: [], must_not: [] };
  for (const { name, negated, strict } of tags) {
    if (strict) filter[negated ? "must_not" : "must"].push({ key: "tags", match: name });
  }
  for (const { list, condition } of where.map(conditionOf)) filter[list].push(condition);
  const used = Object.entries(filter).filter(([, conditions]) => conditions.length);
  return used.length ? Object.fromEntries(used) : null;
}
