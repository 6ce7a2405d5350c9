// Keys: whatever has data-key is pressed, checked or focused by that key. Without this script the forms work the same.
"use strict";

const byKey = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
const isTyping = (element) =>
  element instanceof HTMLTextAreaElement || element instanceof HTMLSelectElement ||
  (element instanceof HTMLInputElement && !["radio", "checkbox"].includes(element.type));

function showContent(toggle) {
  const content = document.getElementById("content-text");
  if (content && toggle) content.toggleAttribute("inert", !toggle.checked);  // not for screen readers either
}

function press(element) {
  if (element instanceof HTMLTextAreaElement) {
    element.focus();
  } else {
    element.click();
    if (element.type === "radio" || element.type === "checkbox") element.focus();
  }
}

document.addEventListener("change", (event) => {
  const { name, checked, value, id } = event.target;
  if (name === "rule" && checked) {
    const violation = document.querySelector('[name="answer"][value="violation"]');
    if (violation) violation.checked = true;
  } else if (name === "answer" && value !== "violation") {
    for (const rule of document.querySelectorAll('[name="rule"]')) rule.checked = false;
  } else if (id === "unblur") {
    showContent(event.target);
  }
});

document.addEventListener("keydown", (event) => {
  const active = document.activeElement;
  if (event.isComposing || event.altKey || event.metaKey) return;
  if (isTyping(active)) {
    if (event.key === "Escape") active.blur();
    if (event.key === "Enter" && event.ctrlKey && active.form) active.form.requestSubmit(active.form.querySelector("button"));
    return;
  }
  if (event.ctrlKey) return;
  // Enter on a focused link or button is that link's or button's.
  if (event.key === "Enter" && active && active.matches("a, button, summary")) return;
  const element = event.key === "b" ? document.getElementById("unblur") : byKey(event.key);
  if (!element) return;
  event.preventDefault();
  press(element);
});

// A second press of a key must not send a form twice.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});

showContent(document.getElementById("unblur"));
// Before the page counts as loaded: keys that are typed at once belong to the field.
document.querySelector("[data-focus]")?.focus();
