// Keeps the page up to date. Fetches the page again and applies only the differences, so that
// focus, scroll position and open elements stay as they are.
"use strict";

const PERIOD = 2000;
const TIMEOUT = 5000;
let timer;
let lastResponse = Date.now();

// Makes an element equal to its new version.
function updateNode(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // The reader controls this attribute.
  const kept = old.tagName === "DETAILS" ? "open" : old.tagName === "INPUT" ? "value" : null;
  for (const { name } of [...old.attributes]) {
    if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const withId = [...old.children].filter((child) => child.id);
  const byId = new Map(withId.map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    // Elements with an id are matched by id, all others by position.
    let same = child.id ? byId.get(child.id) : next;
    if (!same || same.nodeName !== child.nodeName || (same.id ?? "") !== (child.id ?? "")) {
      same = null;
    }
    if (!same) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (same === next) next = next.nextSibling;
    else old.insertBefore(same, next);
    updateNode(same, child);
  }
  while (next) {
    const removed = next;
    next = next.nextSibling;
    removed.remove();
  }
}

function applyPage(fresh) {
  const sheet = (page) => page.querySelector("link[rel=stylesheet]")?.getAttribute("href");
  if (sheet(fresh) !== sheet(document)) {
    location.reload();
    return;
  }
  const focused = document.activeElement;
  for (const part of ["main", "updated"]) {
    updateNode(document.getElementById(part), fresh.getElementById(part));
  }
  document.title = fresh.title;
  if (focused?.isConnected && focused !== document.activeElement) {
    focused.focus({ preventScroll: true });
  }
}

// Shows or hides the notice that Rolecall does not answer.
function showProblem(problem) {
  const notice = document.getElementById("silent");
  document.body.classList.toggle("stale", problem !== null);
  notice.hidden = problem === null;
  // A screen reader announces every change of the text. Set it only once.
  if (problem !== null && notice.textContent === "") {
    const since = new Date(lastResponse).toISOString().slice(11, 19);
    notice.textContent =
      `Rolecall does not answer (${problem}). This page shows the state at ${since} UTC.`;
  } else if (problem === null) {
    notice.textContent = "";
  }
}

async function update() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const url = location.origin + location.pathname + location.search;
    const options = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) };
    const response = await fetch(url, options);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!fresh.getElementById("main")) throw new Error(`status ${response.status}`);
    lastResponse = Date.now();
    applyPage(fresh);
    showProblem(null);
  } catch (error) {
    showProblem(error.name === "TimeoutError" ? "timeout" : error.message);
  }
  clearTimeout(timer);
  timer = setTimeout(update, PERIOD);
}

document.addEventListener("visibilitychange", update);
timer = setTimeout(update, PERIOD);
