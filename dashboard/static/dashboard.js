// Follows what the page shows, and its sliders: the server says that something is new, and the parts that are marked are swapped, without
// moving the focus. Without this script the page is loaded again by the browser, or by hand.
"use strict";

(() => {
  const connection = document.getElementById("connection");
  const ENDED = document.body.dataset.ended;
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
      // Where somebody has to log in first, another page comes.
      if (answer.redirected || answer.status === 401) {
        away(ENDED);
      } else if (answer.ok) {
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

  function away(text) {
    if (connection) connection.className = "away";
    say(text);
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
  let events = null;
  let later = 0;

  // A tab that nobody sees has no stream: browsers have six connections to a host for all tabs.
  function connect() {
    clearTimeout(later);
    if (events) events.close();
    events = document.hidden ? null : new EventSource("/events");
    if (!events) return;
    const stream = events;
    stream.addEventListener("open", () => {
      if (connection) connection.className = "";
      say("Live.");
      refresh();
    });
    stream.addEventListener("changed", refresh);
    stream.addEventListener("error", async () => {
      away("The dashboard does not answer. This page shows what it was last told, and goes on when the dashboard is back.");
      // The browser itself tries again where nobody answered, and not where it was refused.
      if (stream.readyState !== EventSource.CLOSED) return;
      later = setTimeout(connect, 5000);
      const answer = await fetch("/events", { method: "HEAD", cache: "no-store", credentials: "same-origin" }).catch(() => null);
      if (answer && answer.status === 401) away(ENDED);
    });
  }

  document.addEventListener("visibilitychange", connect);
  // Where nothing happens, or a proxy keeps the events to itself.
  setInterval(() => { if (!document.hidden) refresh(); }, 60000);
  connect();
})();
