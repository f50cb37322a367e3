/**
 * Conditions on attributes as a person types them, and as the API has them:
 *   year >= 2019 · licence = cc-by, cc0 · licence != unknown · place.country = "12" · author exists
 * A value in quotes is text, also where it looks like a number or holds a comma. "title = god exists" compares.
 * A tag (key "tags") is text always. What a CSV keeps as text and JSON may have as a number (1e5, 16 digits and more, true) is found as either.
 */

const COMPARED = /^\s*(.+?)\s*(>=|<=|!=|=|>|<)\s*(.+?)\s*$/u;
const EXISTS = /^\s*(.+?)\s+exists\s*$/iu;
/** Each of the values that commas part; a comma in quotes parts none. */
const VALUE = /\s*(?:"[^"]*"(?=\s*(?:,|$))|[^,]+)/gu;
const WHOLE = /^-?\d+$/;
/** What is a number wherever it comes from: as the CSV source has it. */
const PLAIN = /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?$/;
/** What a person may write for a number. With more zeros in front it is a code, such as 007. */
const DECIMAL = /^[+-]?(?:0|[1-9]\d*)?(?:\.\d*)?(?:e[+-]?\d+)?$/i;
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
  if (bound) return { written, list: "must", condition: { key, range: { [bound]: meanings(value)[0] } } };
  const values = (value.match(VALUE) ?? []).map((one) => one.trim()).filter(Boolean).flatMap(key === "tags" ? asText : meanings);
  if (!values.length) return null;
  const condition = values.length > 1 ? { key, any: values } : { key, match: values[0] };
  return { written, list: operator === "=" ? "must" : "must_not", condition };
}

const isQuoted = (written) => written.length > 1 && written.startsWith('"') && written.endsWith('"');
const asText = (written) => (isQuoted(written) ? written.slice(1, -1) : written);

/** The values that a written one may stand for, the likeliest first. */
function meanings(written) {
  if (isQuoted(written)) return [asText(written)];
  if (written === "true" || written === "false") return [written === "true", written];
  const number = Number(written);
  if (PLAIN.test(written)) return [number];
  if (!DECIMAL.test(written) || !Number.isFinite(number)) return [written];
  return [WHOLE.test(written) && !Number.isSafeInteger(number) ? BigInt(written) : number, written];
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
