/**
 * Names that are written from right to left, among words that are not: alone, their direction takes hold of the
 * numbers and signs beside them, and "12 results for X · 5 ms" is shown with its parts in another order.
 */

/** Letters that are written from the right, and the signs that turn what follows (marks, embeddings, overrides). */
const FROM_THE_RIGHT = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
/** A name's own isolates: one that is not closed would keep ours open, and one too many closes it. */
const ISOLATES = /[\u2066-\u2069]/g;

/** The name as a piece of its own (Unicode's isolates): for text that no element can take apart, such as a title. */
export const isolated = (name) => (FROM_THE_RIGHT.test(name) ? `\u2068${name.replace(ISOLATES, "")}\u2069` : name);
