// Dialogs: the browser's own, which keep the focus inside, close with Escape, and give it back.

import { button, make, problemPlace, telling } from "./dom.js";

let dialogs = 0;

/** Opens a dialog with `content` below its title, a text or some. `closed` is called once it is gone. */
export function openDialog(title, content, { closed, isNarrow } = {}) {
  dialogs += 1;
  const id = `dialog-${dialogs}`;
  const close = make("button", { type: "button", class: "plain close", "aria-label": "Close" }, "✕");
  const dialog = make("dialog", { "aria-labelledby": id, class: isNarrow ? "narrow" : null },
    make("div", { class: "head" }, make("h2", { id }, ...[title].flat()), close),
    make("div", { class: "body" }, content));
  close.addEventListener("click", () => dialog.close());
  // A press beside it closes it too: only then is the dialog itself what was pressed.
  dialog.addEventListener("mousedown", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (closed) closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Closes whatever is open. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/** Asks before something that is hard to take back, and does it: `work` is what `action` names. */
export function confirm({ title, text, action, failed, work }) {
  const place = problemPlace();
  const content = [
    ...[text].flat().map((sentence) => make("p", {}, sentence)),
    place,
    make("div", { class: "buttons" },
      button("Cancel", { autofocus: true }, () => dialog.close()),
      button(action, { class: "danger", "data-action": "confirm" }, async () => {
        if (await telling(place, failed, work)) dialog.close();
      })),
  ];
  const dialog = openDialog(title, content, { isNarrow: true });
  return dialog;
}
