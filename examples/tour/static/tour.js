// Without this script the form works too, and shows its answer as a page of its own.
const form = document.getElementById("upload");
const answer = document.getElementById("answer");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
  answer.textContent = response.status + " " + (await response.text());
  answer.hidden = false;
});

new EventSource("/live").addEventListener("message", (event) => {
  document.getElementById("live").textContent = event.data;
});
