// What the browser keeps for this console, and for as long as this page where it keeps nothing: storage may be full, forbidden,
// or hold what somebody else wrote.

const here = new Map();

/** The value kept under `name`, as it was given to `keep`; `otherwise` where there is none, or none of its kind. */
export function kept(name, otherwise = null) {
  try {
    const value = JSON.parse(localStorage.getItem(name)) ?? here.get(name) ?? otherwise;
    return otherwise === null || typeof value === typeof otherwise ? value : otherwise;
  } catch {
    return here.get(name) ?? otherwise;
  }
}

/** Keep a value of JSON under `name`; null: no longer. */
export function keep(name, value) {
  if (value === null) here.delete(name);
  else here.set(name, value);
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // It holds until the page is left.
  }
}
