/**
 * Names that are written from right to left, among words that are not: alone, their direction takes hold of the
 * numbers and signs beside them, and "12 results for X · 5 ms" is shown with its parts in another order.
 */

const FROM_THE_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** The name as a piece of its own (Unicode's isolates): for text that no element can take apart, such as a title. */
export const isolated = (name) => (FROM_THE_RIGHT.test(name) ? `\u2068${name}\u2069` : name);
