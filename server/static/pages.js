// What the pages gain by a script. They work without it.
//
// htmx asks for the live part of a page every second and morphs it in, so that focus and selection stay. The rules
// below add what htmx lacks: an unchanged part is not sent again, a hidden tab is silent, and an error leaves the part
// as it is.
"use strict";

const shown = new Map(); // address of a part -> ETag of what is on the screen

document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden) {
    event.preventDefault();
    return;
  }
  const { request } = event.detail.ctx;
  const etag = shown.get(request.action);
  if (etag) request.headers["If-None-Match"] = etag;
});

document.addEventListener("htmx:before:response", (event) => {
  const { request, response } = event.detail.ctx;
  if (response.status === 401) {
    location.reload(); // the session is over: the page leads to the login
  } else if (response.status === 404) {
    location.assign("/"); // somebody has deleted the job
  }
  if (response.status >= 400) {
    setStale(response.status >= 500);
    event.preventDefault();
    return;
  }
  setStale(false);
  const etag = response.headers.get("ETag");
  if (etag) shown.set(request.action, etag);
});

document.addEventListener("htmx:error", () => setStale(true));

function setStale(isStale) {
  document.getElementById("stale").hidden = !isStale;
}

// --- copy an answer: browsers allow it over HTTPS and on this machine ---

if (navigator.clipboard) {
  showCopyButtons();
  document.addEventListener("htmx:after:swap", showCopyButtons); // a search adds lines to its page
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("button.copy");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector(".copied").textContent);
    button.textContent = "copied";
  });
}

function showCopyButtons() {
  for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
}

// --- submit: drop a file, and see how far its upload is ---

const form = document.querySelector("form.submit");
if (form) {
  const drop = document.getElementById("drop");
  const input = document.getElementById("file");
  for (const hint of form.querySelectorAll(".with-script")) hint.hidden = false;
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length === 1) input.files = event.dataTransfer.files;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
}

function send() {
  const status = document.getElementById("upload");
  const [bar, text] = [status.querySelector("progress"), status.querySelector("span")];
  const button = form.querySelector("button");
  const request = new XMLHttpRequest();
  button.disabled = true;
  status.hidden = false;
  text.textContent = "0%";
  request.upload.addEventListener("progress", (event) => {
    bar.value = event.loaded / event.total;
    text.textContent = event.loaded < event.total ? `${Math.floor(100 * bar.value)}%` : "Storing the file …";
  });
  request.addEventListener("load", () => {
    if (request.status < 300) {
      location.assign(request.responseURL);
      return;
    }
    // The answer is the whole page with the fault; take the fault out of it.
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    fail(page.querySelector(".bad-notice")?.textContent || page.querySelector("main")?.textContent.trim());
  });
  request.addEventListener("error", () => fail("The connection broke off. Try again."));
  request.open("POST", form.action);
  request.send(new FormData(form));

  function fail(message) {
    button.disabled = false;
    status.hidden = true;
    let notice = document.querySelector(".bad-notice");
    if (!notice) {
      notice = document.createElement("p");
      notice.className = "notice bad-notice";
      notice.setAttribute("role", "alert");
      form.before(notice);
    }
    notice.textContent = message;
  }
}
