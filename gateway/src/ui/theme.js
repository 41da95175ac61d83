// The colours that were chosen, before anything is drawn. A choice is kept in this browser; it is no secret.
"use strict";

try {
  const chosen = localStorage.getItem("portmeter-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing follows the system.
}
