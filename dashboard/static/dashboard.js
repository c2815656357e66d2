// Follows what the page shows, and its sliders: the server says that something is new, and the parts that are marked are swapped, without
// moving the focus. Without this script the page is loaded again by the browser, or by hand.
"use strict";

(() => {
  const connection = document.getElementById("connection");
  let busy = false;
  let waiting = false;

  // What had the focus, by what its copy in the new part has too.
  const marked = (element) => element.id || element.getAttribute("href") || element.getAttribute("aria-label");

  function swap(part, fresh) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const copies = Array.from(fresh.childNodes, (child) => document.importNode(child, true));
    const scrolled = Array.from(part.querySelectorAll(".scroll"), (element) => element.scrollLeft);
    part.replaceChildren(...copies);
    part.querySelectorAll(".scroll").forEach((element, index) => { element.scrollLeft = scrolled[index] || 0; });
    if (!focused) return;
    const same = Array.from(part.querySelectorAll("a, button, input, [tabindex]"));
    const next = same.find((element) => marked(element) === marked(focused));
    (next || document.getElementById("main")).focus({ preventScroll: true });
  }

  async function refresh() {
    if (busy) { waiting = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
      if (answer.ok) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-swap]")) {
          const fresh = next.getElementById(part.id);
          if (fresh && fresh.innerHTML !== part.innerHTML) swap(part, fresh);
        }
      }
    } catch {
      // The stream of events says it when the server is away.
    }
    busy = false;
    if (waiting) { waiting = false; refresh(); }
  }

  function say(text) {
    if (connection && connection.textContent !== text) connection.textContent = text;
  }

  // Sliders say where they stand, and the page follows them without being loaded again.
  for (const form of document.querySelectorAll("form[data-follow]")) {
    form.addEventListener("input", ({ target }) => {
      const word = (target.dataset.words || "").split("|")[target.value];
      target.setAttribute("aria-valuetext", word);
      form.querySelector(`output[for="${target.id}"]`).value = word;
    });
    const follow = (event) => {
      event.preventDefault();
      history.replaceState(null, "", `${form.action}?${new URLSearchParams(new FormData(form))}`);
      refresh();
    };
    form.addEventListener("change", follow);
    form.addEventListener("submit", follow);
  }

  if (!("live" in document.body.dataset)) return;
  const events = new EventSource("/events");
  events.addEventListener("open", () => { say("Live."); refresh(); });
  events.addEventListener("changed", refresh);
  events.addEventListener("error", () => say("jobqueue dashboard does not answer. This page shows what it was last told."));
})();
