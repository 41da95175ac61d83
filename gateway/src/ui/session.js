// The API key: in this tab's session storage and nowhere else. It is gone with the tab, and with a sign-out.

const NAME = "portmeter-api-key";

/** Tells "ended" when the key is gone; `detail` says why, or is empty where it was meant. */
export const session = new EventTarget();

let held = read();

/** The key, or null where nobody is signed in. */
export function apiKey() {
  return held;
}

/** Keeps a key that the server has accepted. */
export function begin(key) {
  held = key;
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // Kept by this page alone, then, until it is loaded again.
  }
}

/** Forgets the key, and tells everybody. */
export function end(why = "") {
  if (held === null) return;
  held = null;
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // It was never there.
  }
  session.dispatchEvent(new CustomEvent("ended", { detail: why }));
}

function read() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}
